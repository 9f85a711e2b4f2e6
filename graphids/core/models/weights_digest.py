"""Which network it is: a digest of its weights."""

import hashlib

import torch


def weights_digest(network: torch.nn.Module) -> str:
    """sha256 of names, shapes and bytes of all weights and buffers, in hexadecimal; the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

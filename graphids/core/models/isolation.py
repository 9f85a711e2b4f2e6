"""The network apart from what the caller has set in its process or thread."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def isolated() -> Iterator[None]:
    """Compute as torch does by itself: new tensors on the CPU, no autocast, and weights that autograd can use.

    A default dtype is not undone here, since it belongs to the whole process and other threads would see it change:
    what runs within names its dtypes.
    """
    with ExitStack() as undone:
        if torch.get_default_device().type != "cpu":  # a context of its own slows every call of torch
            undone.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                undone.enter_context(torch.autocast(device, enabled=False))
        if torch.is_inference_mode_enabled():
            undone.enter_context(torch.inference_mode(False))
        yield

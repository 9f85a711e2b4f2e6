"""Damage to a file."""

from pathlib import Path


def flip_bit(path: Path, offset: int) -> None:
    """Flip the lowest bit of the byte at `offset`."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)

"""Bytes on disk: files published whole, and checkpoints that are refused unless their digest matches.

The door of the room: what the rest of graphids uses is handed on here. Nothing of graphids is imported, and torch only
once a checkpoint is parsed or written.
"""

from graphids._fs.checkpoints import adopt, atomic_link, atomic_load, atomic_save, read_verified, remove, settle
from graphids._fs.files import IntegrityError, digest_bytes, digest_file, read_digested
from graphids._fs.publish import make_folder, publish_bytes
from graphids._fs.sidecar import sidecar_path

__all__ = [
    "IntegrityError",
    "adopt",
    "atomic_link",
    "atomic_load",
    "atomic_save",
    "digest_bytes",
    "digest_file",
    "make_folder",
    "publish_bytes",
    "read_digested",
    "read_verified",
    "remove",
    "settle",
    "sidecar_path",
]

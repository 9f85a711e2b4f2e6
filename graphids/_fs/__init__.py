"""Bytes on disk: files published whole, and checkpoints that are refused unless their digest matches.

The door of the room: what the rest of graphids uses is re-exported here. It imports nothing else of graphids, and torch
only once a checkpoint is parsed or written.
"""

from graphids._fs.checkpoints import adopt, atomic_link, atomic_load, atomic_save, read_verified, remove, settle
from graphids._fs.files import IntegrityError, digest_bytes, digest_file, explained, read_digested
from graphids._fs.locks import try_lock
from graphids._fs.private import make_private_folder, open_private, require_own_folder
from graphids._fs.publish import delete, is_temporary, make_folder, publish_bytes, publish_new, write_durably
from graphids._fs.sidecar import sidecar_path

__all__ = [
    "IntegrityError",
    "adopt",
    "atomic_link",
    "atomic_load",
    "atomic_save",
    "delete",
    "digest_bytes",
    "digest_file",
    "explained",
    "is_temporary",
    "make_folder",
    "make_private_folder",
    "open_private",
    "publish_bytes",
    "publish_new",
    "read_digested",
    "read_verified",
    "remove",
    "require_own_folder",
    "settle",
    "sidecar_path",
    "try_lock",
    "write_durably",
]

"""Profiles as files: a line with the version and the digest of what follows, then safetensors."""

import hashlib
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from graphids.core.frames import MAX_PAYLOAD_BYTES, DataError
from graphids.core.profile.alarms import Alarms
from graphids.core.profile.calibration import Calibration
from graphids.core.profile.checks import CHECKS
from graphids.core.profile.experts import EXPERTS
from graphids.core.profile.kernels import Vehicle
from graphids.core.profile.profile import Profile
from graphids.core.profile.records import EXCESS, HABITS

MAX_PROFILE_BYTES = 8 << 20  # 1,500 arbitration IDs
_VERSION = 3
_MAGIC = b"graphids-profile"
_LONGEST_HEAD = 128
_SHA256_BYTES = 32


def profile_bytes(profile: Profile) -> bytes:
    """The profile as a file, the same bytes for the same profile; read by `read_profile`."""
    tensors: dict[str, NDArray[Any]] = {
        "node_key": profile.node_key,
        "roles": profile.roles,
        "surprise": profile.vehicle.surprise.astype(np.float16),
        **_columns("habits", profile.vehicle.habits),
        **_columns("largest", profile.vehicle.calibration.largest),
        **_columns("rate", profile.vehicle.calibration.rate),
        **_columns("checks", profile.checks),
        "extent": np.array([profile.frames, profile.seconds, profile.blocks, profile.bit_rate], np.float64),
    }
    if profile.alarms is not None:
        tensors |= _alarm_tensors(profile.alarms)
    # safetensors keeps tensors in an order of its own, and metadata in none: there is none.
    body = safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    return b"%s %d %s\n%s" % (_MAGIC, _VERSION, hashlib.sha256(body).hexdigest().encode(), body)


def read_profile(content: bytes, where: str) -> Profile:
    """The profile that a file holds.

    Args:
        content: The whole file.
        where: Its name, for errors.

    Raises:
        DataError: If it is not a profile, of another version, changed since it was written, or inconsistent.
    """
    head, _, _ = content[:_LONGEST_HEAD].partition(b"\n")
    body, fields = content[len(head) + 1 :], head.split(b" ")
    if fields[0] != _MAGIC or len(fields) != 3:
        raise DataError(f"{where}: is not a profile of graphids. Expected a file that `graphids profile` wrote.")
    if fields[1] != b"%d" % _VERSION:
        raise DataError(
            f"{where}: is a profile of version {fields[1][:8].decode(errors='replace')}, expected {_VERSION}. Fit it "
            "again with this graphids, or read it with the one that wrote it."
        )
    found = hashlib.sha256(body).hexdigest()
    if found.encode() != fields[2]:
        raise DataError(
            f"{where}: changed since it was written: sha256 {found}, expected "
            f"{fields[2][:64].decode(errors='replace')}. Copy it again from where it was made."
        )
    if len(content) > MAX_PROFILE_BYTES:
        raise DataError(f"{where}: has {len(content)} bytes, expected at most {MAX_PROFILE_BYTES}.")
    try:
        return _profile(safetensors.numpy.load(body))
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{where}: is not a whole profile ({error}). Fit it again with `graphids profile`.") from error


def _columns(prefix: str, records: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    return {f"{prefix}.{name}": records[name] for name in records.dtype.names or ()}


def _profile(tensors: dict[str, NDArray[Any]]) -> Profile:
    node_key = _held(tensors["node_key"], np.dtype(np.uint32), (-1,))
    size = len(node_key)
    if (np.diff(node_key.astype(np.int64)) <= 0).any():
        raise ValueError("its arbitration IDs are not sorted")
    vehicle = Vehicle(
        _records("habits", HABITS, tensors, size),
        Calibration(*(_records(name, EXCESS, tensors, size) for name in Calibration._fields)),
        _held(tensors["surprise"], np.dtype(np.float16), (size, size)).astype(np.float32),
    )
    roles = _held(tensors["roles"], np.dtype(np.uint8), (size, MAX_PAYLOAD_BYTES))
    frames, seconds, blocks, bit_rate = _held(tensors["extent"], np.dtype(np.float64), (4,)).tolist()
    if not (1 <= bit_rate < np.inf and all(0 <= each < np.inf for each in (frames, seconds, blocks))):
        raise ValueError(f"it is of {frames} frames, {seconds} s and {blocks} blocks at {bit_rate} bits per second")
    checks = _records("checks", CHECKS, tensors, size)
    return Profile(
        node_key, checks, vehicle, roles, int(frames), seconds, int(blocks), int(bit_rate), _alarms(tensors, size)
    )


def _alarm_tensors(alarms: Alarms) -> dict[str, NDArray[Any]]:
    return {
        "alarms.chosen": np.array(
            [alarms.per_hour, alarms.hours, alarms.blocks, alarms.threshold, alarms.replaced], np.float64
        ),
        "alarms.network": np.frombuffer(bytes.fromhex(alarms.network), np.uint8),
        "alarms.offset": alarms.offset,
        "alarms.margin": alarms.margin,
    }


def _alarms(tensors: dict[str, NDArray[Any]], size: int) -> Alarms | None:
    if not any(name.startswith("alarms.") for name in tensors):
        return None
    per_hour, hours, blocks, threshold, replaced = _held(tensors["alarms.chosen"], np.dtype(np.float64), (5,)).tolist()
    offset = _held(tensors["alarms.offset"], np.dtype(np.float32), (size + 1, len(EXPERTS), 2))
    margin = _held(tensors["alarms.margin"], np.dtype(np.float32), (len(EXPERTS), 2))
    if not (0 < per_hour < np.inf and 0 < hours < np.inf and 0 <= threshold <= 1 and 0 <= replaced < np.inf):
        raise ValueError(f"its alarms are {per_hour} an hour in {hours} hours with a threshold of {threshold}")
    if not (np.isfinite(offset).all() and np.isfinite(margin).all() and min(offset.min(), margin.min()) >= 0):
        raise ValueError("its limits are not finite numbers of at least 0")
    network = _held(tensors["alarms.network"], np.dtype(np.uint8), (_SHA256_BYTES,)).tobytes().hex()
    return Alarms(per_hour, hours, bool(blocks), offset, margin, threshold, network, replaced)


def _records(prefix: str, dtype: np.dtype[np.void], tensors: dict[str, NDArray[Any]], size: int) -> NDArray[np.void]:
    records = np.zeros(size, dtype)
    for name in dtype.names or ():
        records[name] = _held(tensors[f"{prefix}.{name}"], records[name].dtype, records[name].shape)
    return records


def _held(tensor: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    expected = tensor.shape[:1] if shape == (-1,) else shape
    if tensor.dtype != dtype or tensor.shape != expected:
        raise ValueError(f"a column is {tensor.dtype} {list(tensor.shape)}, expected {dtype} {list(expected)}")
    return tensor

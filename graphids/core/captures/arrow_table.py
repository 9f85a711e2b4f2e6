"""Frames as an Arrow table, the one that `formats.bridged.parquet` reads back."""

import numpy as np
import pyarrow as pa

from graphids.core.frames import MAX_PAYLOAD_BYTES, Frames

_FRAME_COLUMNS = (
    ("timestamp", pa.float64()),
    ("bus", pa.string()),
    ("arbitration_id", pa.uint32()),
    ("is_extended", pa.bool_()),
    ("data", pa.binary()),
)
_LABEL_COLUMNS = (("attack", pa.bool_()), ("attack_kind", pa.string()))


def arrow_schema(*, labelled: bool) -> pa.Schema:
    """Columns of the table: those of `Frames`, with the names of buses and kinds in place of their indexes."""
    columns = _FRAME_COLUMNS + (_LABEL_COLUMNS if labelled else ())
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def arrow_batch(frames: Frames) -> pa.RecordBatch:
    """`frames` as rows of `arrow_schema`, labelled where they are."""
    columns = [
        pa.array(frames.timestamp),
        _named(frames.channel, frames.channels),
        pa.array(frames.arbitration_id),
        pa.array(frames.is_extended),
        _payloads(frames),
    ]
    if frames.attack is not None and frames.attack_kind is not None:
        columns += [pa.array(frames.attack.astype(np.bool_)), _named(frames.attack_kind, frames.kinds)]
    return pa.record_batch(columns, schema=arrow_schema(labelled=frames.attack is not None))


def _named(index: "np.ndarray[tuple[int], np.dtype[np.integer]]", names: tuple[str, ...]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index))


def _payloads(frames: Frames) -> pa.Array:
    offsets = np.zeros(len(frames) + 1, np.int32)
    np.cumsum(frames.dlc, out=offsets[1:])
    data = frames.payload[np.arange(MAX_PAYLOAD_BYTES) < frames.dlc[:, None]]
    return pa.Array.from_buffers(pa.binary(), len(frames), [None, pa.py_buffer(offsets), pa.py_buffer(data)])

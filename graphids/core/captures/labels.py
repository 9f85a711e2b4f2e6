"""Labels beside a capture: a sidecar with one row per frame, or an entry of an `index.json`."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphids.core.captures.capture_file import open_capture
from graphids.core.captures.formats.text_format import quoted
from graphids.core.captures.index_file import NO_ATTACK, IndexEntry, index_entry
from graphids.core.frames import NORMAL, UNNAMED_KIND, Frames, LogFormatError

Kinds = Literal["auto", "filename", "none"]
KINDS: tuple[Kinds, ...] = ("auto", "filename", "none")
# Metrics of a kind are logged under its name; these names there mean normal windows, all kinds and their mean.
RESERVED_KINDS = (NORMAL, "all", "macro")
_MAX_ROW_BYTES = 64
_SIDECAR_SUFFIXES = (".labels.csv", ".labels.csv.gz")


def labels_for(path: Path, frames: Frames, kinds: Kinds = "auto", *, is_complete: bool = True) -> Frames:
    """`frames` of the file at `path` with its labels: those in the file, a sidecar's, or an index' intervals.

    The kind of an attack is the index' kind, else what the file names frame by frame, else the part before the number
    of a file name such as `DoS-1.csv.gz`, else `attack`. `kinds="filename"` takes the whole file name without its
    suffixes instead, `kinds="none"` takes `attack`. Where an index gives intervals and no frame is
    marked (`suppress` leaves none to mark), the frames of the intervals get the kind while `attack` stays 0. A kind's
    name becomes part of metric names; see `kind_name`.

    Args:
        path: Of the capture.
        frames: All frames of the file, with the labels in the file itself.
        kinds: Where names of attack kinds come from.
        is_complete: Whether no line was dropped, so that numbers of frames have to agree with the index.

    Raises:
        LogFormatError: If a sidecar or an index is malformed or contradicts the file, an interval meets no frame, or an
            attack is named like one of `RESERVED_KINDS`.
        ValueError: If `kinds` is not one of `KINDS`.
    """
    if kinds not in KINDS:
        raise ValueError(f"kinds={kinds!r} is not known. Expected one of {', '.join(map(repr, KINDS))}.")
    frames = _with_sidecar(path, frames, is_complete)
    entry = index_entry(path)
    if entry is not None:
        frames = _with_index(path, frames, entry, is_complete)
    if frames.attack is None or frames.attack_kind is None:
        return frames
    chosen = _chosen_kind(path, frames, entry, kinds)
    if chosen is None:
        return _with_usable_names(path, frames, frames.attack_kind)
    affected = _affected(frames, frames.attack, entry)
    named = (NORMAL, kind_name(*chosen)) if affected.any() else (NORMAL,)
    return replace(frames, attack_kind=affected.astype(np.int16), kinds=named)


def kind_name(name: str, origin: str) -> str:
    """An attack kind's name as it can be part of a metric's name, `test/<kind>/auroc`.

    Every store of MLflow takes ASCII letters, digits and `_`, `-`, `.` and space; whatever else there is becomes `_`,
    and so does each dot of a name made of dots alone, which would be a folder. MLflow takes `/` too, which would cut
    the name.

    Args:
        name: As found.
        origin: Where it was found, for the error.

    Raises:
        LogFormatError: If the name is empty or one of `RESERVED_KINDS`.

    >>> kind_name("rpm+gear(x)", origin="the file name")
    'rpm_gear_x_'
    """
    usable = re.sub(r"[^0-9A-Za-z_\-. ]", "_", name)
    if not usable.strip("."):
        usable = "_" * len(usable)
    if not usable or usable in RESERVED_KINDS:
        raise LogFormatError(
            f"{origin} names an attack kind {name!r}. Expected a name other than {', '.join(RESERVED_KINDS)}, which "
            "have a meaning of their own among the metrics; name the kind in the folder's index.json, or pass "
            "data.kinds=none."
        )
    return usable


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Labels beside a capture: the file, and uint8 [n], 1 for an attacked frame."""

    path: Path
    attack: NDArray[np.uint8]

    def require_frames(self, capture: Path, num_frames: int, *, is_complete: bool) -> None:
        """Check that there is a label for each frame.

        Raises:
            LogFormatError: If not.
        """
        if len(self.attack) == num_frames:
            return
        dropped = "" if is_complete else " after its bad lines were dropped, which labels by number cannot follow"
        raise LogFormatError(
            f"{self.path}: labels {len(self.attack)} frames but {capture} has {num_frames}{dropped}. Expected one row "
            f"per frame; get the labels that belong to this capture, or move them away to read it unlabelled."
        )

    def label(self, frames: Frames, first: int = 0) -> Frames:
        """Label a part of the capture that begins at its frame `first` and has no more frames than are labelled."""
        attack = self.attack[first : first + len(frames)]
        return replace(frames, attack=attack, attack_kind=attack.astype(np.int16), kinds=(NORMAL, UNNAMED_KIND))


def read_sidecar(path: Path) -> Sidecar | None:
    """The labels beside the capture at `path`, a byte per frame; None where there are none.

    Raises:
        LogFormatError: If there are two files of them, or one is malformed.
    """
    names = {path.name, path.name.removesuffix(".gz")}
    sidecars = [path.with_name(name + suffix) for name in sorted(names) for suffix in _SIDECAR_SUFFIXES]
    present = [sidecar for sidecar in sidecars if os.path.lexists(sidecar)]
    if len(present) > 1:
        raise LogFormatError(f"{path}: labelled by {present[0].name} and by {present[1].name}. Expected one of them.")
    return Sidecar(present[0], _read_labels(present[0])) if present else None


def _with_sidecar(path: Path, frames: Frames, is_complete: bool) -> Frames:
    sidecar = read_sidecar(path)
    if sidecar is None:
        return frames
    sidecar.require_frames(path, len(frames), is_complete=is_complete)
    return sidecar.label(frames)


def _read_labels(sidecar: Path) -> NDArray[np.uint8]:
    """Column `attack` of a csv `frame_index,attack` whose rows number the frames from 0."""
    expected = "Expected the header `frame_index,attack` and one row `<index>,<0 or 1>` per frame, from index 0 on."
    attack = bytearray()
    with open_capture(sidecar) as stream:
        found = stream.readline(_MAX_ROW_BYTES).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
        if found != b"frame_index,attack":
            raise LogFormatError(f"{sidecar}:1: found `{quoted(found)}`. {expected}")
        while line := stream.readline(_MAX_ROW_BYTES):
            number, _, label = line.rstrip(b"\r\n").rpartition(b",")
            if number != b"%d" % len(attack) or label not in (b"0", b"1"):
                raise LogFormatError(f"{sidecar}:{len(attack) + 2}: found `{quoted(line.rstrip())}`. {expected}")
            attack.append(label == b"1")
    return np.frombuffer(attack, dtype=np.uint8)


def _with_index(path: Path, frames: Frames, entry: IndexEntry, is_complete: bool) -> Frames:
    """`frames` checked against an index, and labelled by it where the file itself has no labels."""
    marked = None if frames.attack is None else int(frames.attack.sum())
    for what, says, found in (("frames", entry.frames, len(frames)), ("attacked frames", entry.attack, marked)):
        if is_complete and says is not None and found is not None and says != found:
            raise LogFormatError(
                f"{entry.index}: says that {path} has {says} {what}, but it has {found}. Expected them equal; "
                f"the file or the index was changed: restore the one that belongs to the other."
            )
    if entry.kind == NO_ATTACK and marked:
        raise LogFormatError(
            f"{entry.index}: says that {path} holds no attack, but {marked} of its frames are marked. "
            f"Correct the kind in the index, or the labels."
        )
    if frames.attack is not None or (entry.kind != NO_ATTACK and not len(entry.intervals)):
        return frames
    zeros = np.zeros(len(frames), dtype=np.uint8)
    return replace(frames, attack=zeros, attack_kind=zeros.astype(np.int16), kinds=(NORMAL,))


def _chosen_kind(path: Path, frames: Frames, entry: IndexEntry | None, kinds: Kinds) -> tuple[str, str] | None:
    """Kind of every attacked frame and where its name is from; None where the file names kinds frame by frame."""
    stem, file_name = _stem(path), f"{path}: the file's name"
    if kinds == "none":
        return UNNAMED_KIND, "data.kinds=none"
    if kinds == "filename":
        return stem, file_name
    if entry is not None and entry.kind is not None:
        return entry.kind, f"{entry.index}: the entry of {path.name!r}"
    if frames.kinds not in ((NORMAL,), (NORMAL, UNNAMED_KIND)):
        return None
    numbered = re.fullmatch(r"(.+)-\d+", stem)
    return (numbered[1] if numbered else UNNAMED_KIND), file_name


def _with_usable_names(path: Path, frames: Frames, attack_kind: NDArray[np.int16]) -> Frames:
    """Kinds that the file names frame by frame, by `kind_name`; those that then share a name become one."""
    named = [NORMAL, *(kind_name(kind, f"{path}: the sub-class of a frame") for kind in frames.kinds[1:])]
    kinds = tuple(dict.fromkeys(named))
    number = np.array([kinds.index(name) for name in named], dtype=np.int16)
    return replace(frames, attack_kind=number[attack_kind], kinds=kinds)


def _stem(path: Path) -> str:
    """File name in lower case without `.gz` and the suffix of its format."""
    return re.sub(r"\.(parquet|[a-z]\w{1,4})$", "", path.name.lower().removesuffix(".gz"))


def _affected(frames: Frames, attack: NDArray[np.uint8], entry: IndexEntry | None) -> NDArray[np.bool_]:
    """Attacked frames, or where none is marked those of the index' intervals."""
    affected = attack.astype(np.bool_)
    if entry is None or entry.kind == NO_ATTACK or affected.any() or not len(frames):
        return affected
    return entry.intervals.of_frames(frames.timestamp)

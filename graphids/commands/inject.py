"""The command `inject`: an attack laid over a recording, written as a capture with its labels."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphids._fs import publish_bytes
from graphids.commands.capture_output import Written, held, new_file, output_for, tallied
from graphids.commands.one_bus import bus_of
from graphids.commands.termination import orderly_termination
from graphids.core.captures.index_file import read_index
from graphids.core.captures.read import OnBadLine
from graphids.core.frames import Capture, DataError, format_arbitration_id, unbroken_runs
from graphids.core.injection.inject import Injected, Injection, inject
from graphids.wording import counted, printable

# Of the recording; where it begins is drawn from the middle, so that there is traffic to replay and to compare with.
_SHARE = 0.2
_EARLIEST, _LATEST = 0.3, 0.7
INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class AttackRequest:
    """What was asked for; None leaves it to the seed.

    Attributes:
        kind: One of `injection.inject.KINDS`.
        target: Node key of the message to attack.
        start_s: When it begins, seconds after the first frame.
        duration_s: How long it lasts.
        intensity: In (0, 1].
        seed: Draws what is left open.
        bit_rate: Of the bus, bits per second.
    """

    kind: str
    target: int | None = None
    start_s: float | None = None
    duration_s: float | None = None
    intensity: float = 1.0
    seed: int = 0
    bit_rate: int | None = None

    def over(self, seconds: float) -> Injection:
        """The attack on a recording of so many seconds."""
        rng = np.random.default_rng(self.seed)
        duration_s = _SHARE * seconds if self.duration_s is None else self.duration_s
        start_s = seconds * float(rng.uniform(_EARLIEST, _LATEST)) if self.start_s is None else self.start_s
        return Injection(self.kind, start_s, min(start_s + duration_s, seconds), self.target, self.intensity)


def inject_capture(
    source: Path, target: Path, request: AttackRequest, *, bus: str | None = None, on_bad_line: OnBadLine = "raise"
) -> None:
    """Write the recording with the attack, and name kind, target and interval in the `index.json` beside it.

    A folder of such captures is what training reads. One line on standard output says what was done.

    Args:
        source: An attack-free capture in any format that is read.
        target: A new file; see `convert`.
        request: The attack.
        bus: Which of the buses of the capture; None where it has one.
        on_bad_line: As in `read_captures`.

    Raises:
        DataError: If the attack cannot be laid over the recording, or the format cannot hold it.
        FileExistsError: If something is at `target`.
    """
    output, is_compressed = output_for(target)
    entries = _entries_beside(target)
    capture = bus_of(source, bus, on_bad_line=on_bad_line)
    frames = capture.frames
    runs = len(unbroken_runs(frames.timestamp))
    if runs > 1:
        raise DataError(
            f"{source}: its clock jumps {counted(runs - 1, 'time')}, so that no interval of {INDEX} could say when the "
            "attack runs. Cut it where the clock jumps."
        )
    seconds = float(np.ptp(frames.timestamp)) if len(frames) else 0.0
    injected = inject(frames, [request.over(seconds)], seed=request.seed, bit_rate=request.bit_rate)
    met = Written()
    with orderly_termination():
        with new_file(target, is_compressed=is_compressed) as stream:
            parts = tallied(iter([injected.frames]), met)
            output.write(held(source, target, parts, output, met), True, stream)
        entry = _entry(target, capture, injected, request.seed)
        text = json.dumps([*entries, entry], indent=1) + "\n"
        publish_bytes(target.with_name(INDEX), text.encode())
    print(printable(f"{target}: {met.sentence()}; {_sentence(injected)}, named in {INDEX}"))


def _entries_beside(target: Path) -> list[dict[str, object]]:
    """What the index in the folder of a new capture says of others."""
    index = target.with_name(INDEX)
    entries = read_index(index) if index.exists() else []
    if any(entry["file"] == target.name for entry in entries):
        raise DataError(f"{index}: names {target.name} already. Choose another name, or remove the entry.")
    if index.exists() and not entries:
        raise DataError(f"{index}: is not an index of captures. Write to another folder, or move it away.")
    return entries


def _entry(target: Path, capture: Capture, injected: Injected, seed: int) -> dict[str, Any]:
    frames = injected.frames
    return {
        "file": target.name,
        "kind": injected.injections[0].kind,
        "source": capture.source,
        "seed": seed,
        "frames": len(frames),
        "attack": 0 if frames.attack is None else int(frames.attack.sum()),
        "time": "elapsed",
        "intervals": [[injection.first_s, injection.last_s] for injection in injected.injections],
        "targets": [format_arbitration_id(i.target) for i in injected.injections if i.target is not None],
    }


def _sentence(injected: Injected) -> str:
    (injection,) = injected.injections
    on = "" if injection.target is None else f" on {format_arbitration_id(injection.target)}"
    return f"{injection.kind}{on} from {injection.first_s:.3f} to {injection.last_s:.3f} s"

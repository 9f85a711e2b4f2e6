"""The command `profile`: what a vehicle normally does, fitted on attack-free captures, as a file and as a table."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np

from graphids._fs import publish_new
from graphids.commands.attack_free import attack_free_captures
from graphids.core.byte_roles import Role
from graphids.core.captures.read import OnBadLine
from graphids.core.data.dataset import dataset_digest
from graphids.core.frames import Capture, DataError, Frames, format_arbitration_id
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.profile.profile_file import profile_bytes
from graphids.wording import counted, printable, time_words

# Habits of shorter recordings miss what the vehicle does later; ten minutes of several drives hold most of it.
ENOUGH_S = 600.0
_LEGEND = (
    "bytes: =5A constant, 00-3F range, 00-3F> with the next byte, count counter, check checksum, . beyond the DLC\n"
    "holds: a sum, parities or a counter that held in every frame"
)
_HOLDS = {"sum": "sum_field", "parity": "num_parities", "counter": "count_step"}  # the columns of `CHECKS` that say so


@dataclass(frozen=True, slots=True)
class MessageHabits:
    """What a person asks of one message.

    Attributes:
        arbitration_id: Hex.
        frames: How many were seen.
        period_ms: Mean gap; None for an ID that is not cyclic.
        dlcs: Its payload lengths.
        bytes: What each of its bytes does.
        holds: What held in every frame: "sum", "parity", "counter".
    """

    arbitration_id: str
    frames: int
    period_ms: float | None
    dlcs: tuple[int, ...]
    bytes: tuple[str, ...]
    holds: tuple[str, ...]

    def line(self) -> str:
        """One line of the table."""
        period = "-" if self.period_ms is None else f"{self.period_ms:.1f}"
        lengths = "/".join(map(str, self.dlcs))
        return f"{self.arbitration_id:8} {self.frames:>9,} {period:>9} {lengths:>5}  " + " ".join(
            f"{text:6}" for text in (*self.bytes, *self.holds)
        )


class Held(NamedTuple):
    """Alarms to choose for the profile.

    Attributes:
        captures: Files, folders and globs of attack-free captures that the profile is not fitted on; perhaps none.
        choose: From the profile, those recordings and its own ones to a profile with alarms, and a word on it.
    """

    captures: Sequence[str]
    choose: Callable[[Profile, list[Frames], list[Frames]], tuple[Profile, str]]


def fit_and_show(
    captures: Sequence[str],
    output: Path,
    *,
    held: Held | None = None,
    bus: str | None = None,
    as_json: bool = False,
    on_bad_line: OnBadLine,
) -> None:
    """Fit the profile of a vehicle's bus, write it to a new file and print it.

    Args:
        captures: Files, folders and globs of attack-free captures of one vehicle.
        output: The new file.
        held: Alarms to choose; none by default.
        bus: Which of the buses of each capture; None where each has one.
        as_json: Print JSON instead of a table.
        on_bad_line: As in `read_captures`.

    Raises:
        DataError: If a capture holds attacks or several buses, or there is no traffic.
        LogFormatError: If one cannot be read.
        FileExistsError: If something is at `output`.
    """
    if output.exists():
        raise FileExistsError(f"{output} exists. Expected the name of a new file; name another or remove this one.")
    fitted_on = list(attack_free_captures(captures, bus, on_bad_line))
    recordings = [capture.frames for capture in fitted_on]
    profile, words = fit_profile(recordings), ""
    if held is not None:
        held_out = list(attack_free_captures(held.captures, bus, on_bad_line))
        _require_others(fitted_on, held_out)
        profile, words = held.choose(profile, [capture.frames for capture in held_out], recordings)
    content = profile_bytes(profile)
    with publish_new(output) as stream:
        stream.write(content)
    messages = describe(profile)
    facts: dict[str, Any] = {
        "file": str(output),
        "sha256": hashlib.sha256(content).hexdigest(),
        "captures": len(recordings),
        "frames": profile.frames,
        "seconds": profile.seconds,
    }
    if profile.alarms is not None:
        facts["alarms"] = {
            "per_hour": profile.alarms.per_hour,
            "hours": profile.alarms.hours,
            "threshold": profile.alarms.threshold,
            "network": profile.alarms.network,
            "sentence": words,
        }
    print(
        json.dumps({**facts, "messages": [asdict(m) for m in messages]})
        if as_json
        else "\n".join([*_table(facts, messages), *wrap(words, 118)])
    )


def _require_others(fitted_on: Sequence[Capture], held_out: Sequence[Capture]) -> None:
    """Refuse held-out captures that the profile has seen, under whatever name."""

    def digest(capture: Capture) -> str:
        return dataset_digest([replace(capture, name="", source="")])

    seen = {digest(capture): capture.name for capture in fitted_on}
    for capture in held_out:
        if (same := seen.get(digest(capture))) is not None:
            raise DataError(
                f"{capture.name}: is held out and has the frames of {same}, which the profile is fitted on. Expected "
                "recordings that it has not seen: name others, or leave --held-out out for blocks of its own."
            )


def describe(profile: Profile) -> list[MessageHabits]:
    """What each message does, in the order of arbitration IDs."""
    return [
        MessageHabits(
            arbitration_id=format_arbitration_id(int(key)),
            frames=int(habit["frames"]),
            period_ms=float(habit["gap_s"] * 1e3) if habit["is_cyclic"] else None,
            dlcs=tuple(length for length in range(9) if int(habit["dlcs"]) >> length & 1),
            bytes=tuple(_byte(Role(role), habit, byte) for byte, role in enumerate(roles)),
            holds=tuple(word for word, column in _HOLDS.items() if check[column]),
        )
        for key, habit, check, roles in zip(
            profile.node_key, profile.vehicle.habits, profile.checks, profile.roles.tolist(), strict=True
        )
    ]


def _byte(role: Role, habit: np.void, byte: int) -> str:
    taken = np.flatnonzero(np.unpackbits(habit["values"][byte], bitorder="little"))
    low, high = (int(taken[0]), int(taken[-1])) if len(taken) else (0, 0)
    return {
        Role.ABSENT: ".",
        Role.CONSTANT: f"={low:02X}",
        Role.COUNTER: "count",
        Role.CHECKSUM: "check",
    }.get(role, f"{low:02X}-{high:02X}{'>' if role == Role.HIGH_BYTE else ''}")


def _table(facts: dict[str, Any], messages: Sequence[MessageHabits]) -> Iterator[str]:
    yield (
        f"{'ID':8} {'frames':>9} {'period ms':>9} {'DLC':>5}  "
        + " ".join(f"byte {byte}" for byte in range(8))
        + " held"
    )
    for message in messages:
        yield message.line().rstrip()
    yield _LEGEND
    seconds = float(facts["seconds"])
    yield printable(
        f"{facts['file']}: {counted(len(messages), 'arbitration ID')}, {counted(facts['frames'], 'frame')}, "
        f"{time_words(seconds / 3600)} of {counted(facts['captures'], 'capture')}; sha256 {facts['sha256']}"
    )
    if seconds < ENOUGH_S:
        yield (
            f"Less than {ENOUGH_S / 60:.0f} minutes: much of what the vehicle does later will look new. Record several "
            "drives that differ."
        )

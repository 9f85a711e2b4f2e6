"""The table: for each fault its cases, how many took effect, and what went wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

# undetected: a load returned and something that it used differs from what was saved
# lost: neither the old nor the new checkpoint loads
# false_refusals: whole bytes were refused
# other_errors: neither a load nor a refusal: another exception, a hang, leftovers
Wrong = Literal["undetected", "lost", "false_refusals", "other_errors"]
_EXAMPLES = 3
_EXAMPLE_LENGTH = 400


@dataclass(slots=True)
class Tally:
    """Counts of one fault. `hits` are the cases in which the fault took effect; each fault says how."""

    cases: int = 0
    hits: int = 0
    undetected: int = 0
    lost: int = 0
    false_refusals: int = 0
    other_errors: int = 0
    cpu_seconds: float = 0.0
    examples: list[str] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)

    def add(self, *, hit: bool, wrong: Wrong | None = None, example: str = "") -> None:
        """Count one case; `example` tells what went wrong, and with which case."""
        self.cases += 1
        self.hits += hit
        if wrong is not None:
            self.find(wrong, example)

    def find(self, wrong: Wrong, example: str) -> None:
        """Count what went wrong with a case that has been counted."""
        setattr(self, wrong, getattr(self, wrong) + 1)
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{wrong}: {' '.join(example.split())[:_EXAMPLE_LENGTH]}")

    def merge(self, other: "Tally") -> None:
        """Add the counts of another part of the same fault."""
        for name in ("cases", "hits", "undetected", "lost", "false_refusals", "other_errors", "cpu_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.examples = (self.examples + other.examples)[:_EXAMPLES]
        self.notes |= other.notes

    @property
    def found(self) -> int:
        """Cases in which wrong bytes were accepted, or right ones lost or refused."""
        return self.undetected + self.lost + self.false_refusals

    @property
    def failures(self) -> int:
        """Cases that went wrong in any way."""
        return self.found + self.other_errors


def render(tallies: Mapping[str, Tally]) -> str:
    """The table as Markdown, with a line of sums, then notes and examples of what went wrong."""
    names = [f.name for f in fields(Tally) if f.name not in ("cpu_seconds", "examples", "notes")]
    total = Tally()
    for tally in tallies.values():
        total.merge(tally)
    head = ["fault", *(name.replace("_", " ") for name in names), "CPU seconds"]
    rows = [
        [fault, *(f"{getattr(tally, name):,}" for name in names), f"{tally.cpu_seconds:.0f}"]
        for fault, tally in [*tallies.items(), ("all", total)]
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        _row(head, widths),
        "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|",
    ]
    lines += [_row(row, widths) for row in rows]
    notes = [f"{fault}: {note}" for fault, tally in tallies.items() for note in sorted(tally.notes)]
    wrong = [f"{fault}: {example}" for fault, tally in tallies.items() for example in tally.examples]
    return "\n".join([*lines, *([""] if notes or wrong else []), *notes, *wrong])


def _row(cells: list[str], widths: list[int]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *rest]) + " |"

"""What the model knows of a capture, and what of it nobody judged."""

from collections.abc import Iterator, Mapping

from graphids.core.data.coverage import Coverage
from graphids.core.incidents.terminal import bus_words
from graphids.report.incident_page.facts import CaptureFacts
from graphids.report.incident_page.markup import Markup, element, table
from graphids.wording import counted

# What the reader counts, and what that means for the verdict.
_COUNTS = {
    "bad_lines": ("bad line", "dropped: what was in it is not known"),
    "error_frames": ("error frame", "which is no message: a flood of them is not judged"),
    "remote_frames": ("remote frame", "judged as a frame without data"),
    "backward_timestamps": ("backward timestamp", "around which times are less certain"),
    "clock_jumps": ("clock jump", "which no window crosses"),
    "unterminated_last_line": ("unterminated last line", "left out: the file was cut off"),
}


def coverage_table(coverage: Mapping[str, Coverage]) -> Iterator[Markup]:
    """A row for each bus, and a warning for each that the model cannot judge."""
    rows = [
        (
            bus or "without a name",
            f"{known.frames:,}",
            f"{known.share:.1%}",
            f"{known.known_ids} of {known.ids}",
            "yes" if known.is_enough else element("strong", "no"),
        )
        for bus, known in coverage.items()
    ]
    yield table(("bus", "frames", "with known IDs", "IDs known", "can be judged"), rows)
    for bus, known in coverage.items():
        if not known.is_enough:
            name = f", {bus_words(bus)}" if bus else ""
            yield element("p", f"Not covered{name}: {known.problem()}.", class_="warning")


def not_judged(facts: CaptureFacts) -> list[str]:
    """Sentences on frames that no window holds, on what the reader left out, and on what no such detector sees."""
    left_over, frames = sum(facts.unscored.values()), sum(known.frames for known in facts.coverage.values())
    lines = [
        f"{counted(left_over, 'frame')} of {frames:,} in no window: the last of a bus, or before a jump of its clock."
        if left_over
        else "Every frame lies in a window."
    ]
    for name, (noun, meaning) in _COUNTS.items():
        if number := facts.counts.get(name, 0):
            lines.append(f"{counted(number, noun)}, {meaning}.")
    lines += [f"Bus {bus or 'without a name'}: not covered." for bus, k in facts.coverage.items() if not k.is_enough]
    lines.append(
        "Attacks that leave times, IDs and each single value as usual are hardly found on a vehicle on which none was "
        "seen in training."
    )
    return lines

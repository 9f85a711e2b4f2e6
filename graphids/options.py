"""The project's parameters: one table for the command line, MLproject and the jsonnet configuration.

Everything else in a run is set by dotted overrides (`--model.heads 8`), which the configuration's own types check.
Standard library only, so that a wrong value is refused before the heavy imports.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from glob import has_magic, iglob
from pathlib import Path
from typing import Any, Final

SIMULATED, FLEET = "simulated", "fleet"
DEFAULT_ROOT_DIR = "graphids_runs"  # each run has a folder of its own in it
# Not 5000, where MLflow's UI listens.
SCORING_HOST, SCORING_PORT = "127.0.0.1", 5001
AUTO: Final = "auto"
NAMESPACES = ("trainer", "model", "data")


class OptionError(ValueError):
    """A command-line value that cannot be used; the message names the option, what was given and what is allowed."""


@dataclass(frozen=True, slots=True)
class Option:
    """One project parameter: `parse` turns its text into a value or raises ValueError."""

    name: str
    default: Any
    parse: Callable[[str], Any]
    allowed: str


def _tau(text: str) -> float | str:
    if text == AUTO:
        return text
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError
    return value


def _integer(lowest: int, highest: float = math.inf) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not lowest <= value <= highest:
            raise ValueError
        return value

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return parse


def _name(text: str) -> str:
    if not text or not is_text(text):
        raise ValueError
    return text


def _devices(text: str) -> int | str:
    return text if text == AUTO else _integer(1)(text)


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


def _learning_rate(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError
    return value


def existing_captures(text: str) -> str:
    """`text` if it is `fleet` or `simulated`, a file, a folder, or a glob that matches something.

    Raises:
        ValueError: If it is none of these.
    """
    if text in (SIMULATED, FLEET):
        return text
    if not text:
        raise ValueError
    if not is_text(text):
        raise ValueError("its name is not UTF-8, which is all that MLflow stores; rename it")
    path = Path(text).expanduser()
    # Path.glob wants a pattern relative to a folder; a user's may be absolute.
    if path.exists() or (has_magic(text) and any(iglob(str(path), recursive=True))):  # noqa: PTH207
        return text
    raise ValueError(f"{path.absolute()} does not exist")


def is_text(value: str) -> bool:
    """Whether every byte of a command line's argument is UTF-8; Python hands on others as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


_ACCELERATORS = ("auto", "cpu", "gpu")
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
_MAX_SEED = 2**32 - 1  # what numpy takes

OPTIONS = (
    Option("data", FLEET, existing_captures, "'fleet', 'simulated', or a capture file, a folder of captures or a glob"),
    Option(
        "tau",
        0.5,
        _tau,
        "a finite number >= 0 (0 keeps the trained head, 1 gives it unit rows), or auto (chosen on validation)",
    ),
    Option(
        "inject",
        AUTO,
        _one_of(AUTO, "always", "never"),
        "auto (lays attacks over captures of which none has any), always (over attack-free ones too, in training) or "
        "never",
    ),
    Option("hold_out", AUTO, _name, "a vehicle that only the test has, as its folder is called, or auto"),
    Option("seed", 0, _integer(0, _MAX_SEED), f"an integer from 0 to {_MAX_SEED}"),
    Option("max_epochs", 20, _integer(1), "an integer >= 1 (epochs)"),
    Option("patience", 5, _integer(1), "an integer >= 1 (epochs without a better validation metric)"),
    Option("batch_size", 64, _integer(1), "an integer >= 1 (windows per batch)"),
    Option("lr", 0.003, _learning_rate, "a number > 0, at most 1"),
    Option("window", 256, _integer(2), "an integer >= 2 (frames per window)"),
    Option("stride", 128, _integer(1), "an integer >= 1 (frames between window starts)"),
    Option("accelerator", "auto", _one_of(*_ACCELERATORS), "one of " + ", ".join(_ACCELERATORS)),
    Option("devices", 1, _devices, "an integer >= 1, or auto"),
    Option("precision", "32-true", _one_of(*_PRECISIONS), "one of " + ", ".join(_PRECISIONS)),
    Option("vram_threshold", 0.2, _share, "a number between 0 and 1 (share of the free GPU memory)"),
)


# Of `retune` alone: a training takes it by its dotted name, model.false_alarms_per_hour.
BUDGET = Option("false-alarms-per-hour", 60.0, _rate, "a finite number >= 0 (normal windows per hour that may alert)")


def find_option(name: str) -> Option:
    """The project parameter of that name."""
    return next(option for option in OPTIONS if option.name == name)


def parse_option(option: Option, text: str, *, typed_as: str | None = None) -> Any:
    """Parse the value of one option.

    Args:
        option: The option.
        text: Its value as given.
        typed_as: What the user typed, for the error, if that is not `--<name>`: `text` may be an item of a list.

    Raises:
        OptionError: If the value is not allowed.
    """
    try:
        return option.parse(text)
    except ValueError as error:
        found = str(error) if str(error).endswith(("does not exist", "rename it")) else ""
        detail = f" ({found})" if found else ""
        where = typed_as or f"--{option.name}"
        raise OptionError(f"{where}: given {text!r}{detail}; allowed is {option.allowed}.") from None

"""Arguments as people type them: either spelling of an option, and one line for what no command knows."""

import argparse
import difflib
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NoReturn

from graphids.exit_codes import EXIT_REFUSED
from graphids.options import NAMESPACES, OPTIONS, OptionError, is_text, parse_option
from graphids.wording import printable

# MLproject's name of the parameter, and that of MLflow's own commands.
_SYNONYMS = {"--model-uri": "--model"}


class ArgumentsRefused(SystemExit):
    """What argparse makes of wrong arguments; `message` is the line that was printed."""

    def __init__(self, message: str) -> None:
        super().__init__(EXIT_REFUSED)
        self.message = message


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage text.

    An option is known with dashes and with underscores, `--max-epochs` and `--max_epochs`, whichever of them it has,
    and `--model-uri` stands for `--model` where there is one.
    """

    def __init__(self, prog: str | None = None, description: str | None = None, **kwargs: Any) -> None:
        kwargs["allow_abbrev"] = False
        super().__init__(prog=prog, description=description, **kwargs)
        self._typed: list[str] = []

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, with every option spelled as it was added."""
        known = {_dashed(option): option for option in self._options()}
        known |= {synonym: option for synonym, option in _SYNONYMS.items() if option in self._option_string_actions}
        self._typed = list(_respelled(sys.argv[1:] if args is None else args, known))
        return super().parse_known_args(self._typed, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with one line; argparse would print the usage first.

        A misspelled option comes first: that a required one is missing is then only what follows from it.
        """
        for argument in self._typed:
            name = argument.partition("=")[0]
            is_option = name.startswith("--") and len(name) > 2 and name not in self._option_string_actions
            if is_option and "." not in name and self.get_default("command_options") is not None:
                message = unknown_option(name, self.get_default("command_options"))
                break
        line = printable(f"{self.prog}: {message}")
        print(line, file=sys.stderr)
        raise ArgumentsRefused(line)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            near = difflib.get_close_matches(str(value), action.choices, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            self.error(f"{value}: no such command; {hint}there are {', '.join(action.choices)}.")
        super()._check_value(action, value)

    def _options(self) -> list[str]:
        return [option for option in self._option_string_actions if option.startswith("--")]


def _respelled(arguments: Sequence[str], known: dict[str, str]) -> Iterator[str]:
    """Arguments with the options of `known`, by their spelling with dashes, as the parser has them."""
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        yield known.get(_dashed(name), name) + equals + value if name.startswith("--") else argument
        if argument == "--":
            yield from remaining


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def unknown_option(name: str, known: Collection[str], beside: str = "") -> str:
    """The sentence for an option that a command does not have.

    Args:
        name: As it was typed, `--tua`.
        known: The options of the command, without their leading dashes.
        beside: What else it would have taken.
    """
    spelled = {_dashed(option): option for option in known}
    near = difflib.get_close_matches(_dashed(name.removeprefix("--")), spelled, n=1)
    hint = f"did you mean --{spelled[near[0]]}? " if near else ""
    return f"{name}: no such option; {hint}allowed are {', '.join('--' + option for option in known)}{beside}."


def add_options(parser: argparse.ArgumentParser, *, without: Sequence[str] = ()) -> None:
    """Add every project parameter but those in `without`.

    Their default is None, so that options that were typed can be told from those that were not.
    """
    parser.set_defaults(**dict.fromkeys(without))
    for option in (option for option in OPTIONS if option.name not in without):
        parser.add_argument(f"--{option.name}", metavar="VALUE", help=f"{option.allowed}; default {option.default}")


def project_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every project parameter, with defaults filled in.

    Raises:
        OptionError: If a value is not allowed.
    """
    given = {o.name: getattr(arguments, o.name) for o in OPTIONS}
    return {o.name: o.default if given[o.name] is None else parse_option(o, given[o.name]) for o in OPTIONS}


def dotted_overrides(extra: Sequence[str], known: Sequence[str], *, allowed: bool = True) -> list[str]:
    """Turn arguments that the parser does not know into overrides of the configuration, `--model.heads=8`.

    Args:
        extra: What argparse left over; MLflow appends `-P model.heads=8` as `--model.heads 8`.
        known: Option names of the command, to suggest a similar one.
        allowed: Whether the command has a configuration to override.

    Raises:
        OptionError: For anything that is not `--trainer.*`, `--model.*` or `--data.*` with a value.

    >>> dotted_overrides(["--model.heads", "8", "--data.gap-s=2"], known=[])
    ['--model.heads=8', '--data.gap_s=2']
    """
    overrides = []
    remaining = iter(extra)
    for argument in remaining:
        name, has_value, value = argument.partition("=")
        bare = name.removeprefix("--")
        if not allowed or not name.startswith("--") or "." not in bare or bare.split(".")[0] not in NAMESPACES:
            beside = " and overrides of the configuration (--model.X, --data.X, --trainer.X)" if allowed else ""
            raise OptionError(unknown_option(name, known, beside))
        name = f"--{bare.replace('-', '_')}"  # keys of the configuration are names of Python
        if not has_value:
            value = next(remaining, None)  # type: ignore[assignment]
            if value is None:
                raise OptionError(f"{name}: no value given; expected {name}=VALUE.")
        if not is_text(value):
            raise OptionError(f"{name}: given {value!r}, which is not UTF-8; expected text that MLflow can store.")
        overrides.append(f"{name}={value}")
    return overrides

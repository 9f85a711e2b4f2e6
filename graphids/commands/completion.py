"""The command `completion`: a script that completes commands and options in a shell, made from the parser itself.

Written here because a library would cost more than it saves: argcomplete starts Python at each key press, and shtab has
no fish.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SHELLS = ("bash", "zsh", "fish")


class _Option(NamedTuple):
    name: str
    help: str
    choices: tuple[str, ...]
    takes_value: bool


class _Command(NamedTuple):
    name: str
    summary: str
    options: tuple[_Option, ...]


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script for `shell`, one of SHELLS, to be read by it when it starts."""
    commands = list(_commands(parser))
    return _fish(commands) if shell == "fish" else _ZSH_HEAD * (shell == "zsh") + _bash(commands)


def _commands(parser: argparse.ArgumentParser) -> Iterator[_Command]:
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in subparsers.choices.items():
        shown = (action for action in command._actions if action.option_strings and action.help != argparse.SUPPRESS)
        options = tuple(
            _Option(
                action.option_strings[-1],
                (action.help or "") % {"default": action.default},
                tuple(map(str, action.choices or ())),
                action.nargs != 0,
            )
            for action in shown
        )
        yield _Command(name, command.description or "", options)


# zsh understands bash's functions for completion.
_ZSH_HEAD = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"


def _bash(commands: Sequence[_Command]) -> str:
    values = "\n".join(
        f"        {command.name}:{option.name}) words='{' '.join(option.choices)}' ;;"
        for command in commands
        for option in command.options
        if option.choices
    )
    options = "\n".join(
        f"        {command.name}:*) words='{' '.join(option.name for option in command.options)}' ;;"
        for command in commands
    )
    # A word that begins no option is a file: `-o default`.
    return f"""_graphids() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=''
    COMPREPLY=()
    case "${{COMP_WORDS[1]}}:$before" in
{values}
    esac
    if [[ $COMP_CWORD -eq 1 ]]; then
        words='{" ".join(command.name for command in commands)} --help --version'
    elif [[ -z $words && $word == -* ]]; then
        case "${{COMP_WORDS[1]}}:" in
{options}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _graphids graphids
"""


def _fish(commands: Sequence[_Command]) -> str:
    names = " ".join(command.name for command in commands)
    lines = []
    for command in commands:
        first = f"complete -c graphids -n {_quoted(f'not __fish_seen_subcommand_from {names}')}"
        lines.append(f"{first} -f -a {command.name} -d {_quoted(command.summary)}")
        within = f"complete -c graphids -n {_quoted(f'__fish_seen_subcommand_from {command.name}')}"
        for option in command.options:
            value = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r" * option.takes_value
            lines.append(f"{within} -l {option.name.removeprefix('--')}{value} -d {_quoted(option.help)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

"""What the configuration of a run may name when it is resumed: only what graphids' own configuration can.

It lies in the run's folder or among its artifacts, where others may write, and class paths in it are imported and
called. `train --config` takes any, because whoever types it names the file.
"""

import re
from collections.abc import Iterator
from typing import Any

from graphids.commands.config import render_config
from graphids.commands.run_folder import PLAN
from graphids.options import AUTO, NAMESPACES, OPTIONS, OptionError

_KEYS = {"seed_everything", *NAMESPACES, PLAN, "optimizer", "lr_scheduler"}
# Numbers and words of Lightning: 16-mixed, ddp_find_unused_parameters_true, 00:12:00:00, 1e-3. Never a dotted path.
_WORD = re.compile(r"[\w,:+-]*|[+-]?\d*\.?\d*(?:e[+-]?\d+)?", re.ASCII)
_FREE = ("trainer.default_root_dir",)  # the folder is the one that the run was found in


def require_own_names(config: dict[str, Any], where: str) -> None:
    """Refuse a configuration that names classes, functions or files that graphids' own does not.

    Args:
        config: As `parse_config` returns it.
        where: Its file, for the error.

    Raises:
        OptionError: If it does; the error names the first one.
    """
    own = set(_strings(render_config({option.name: option.default for option in OPTIONS})))
    foreign = next(_foreign(config, own), None)
    if foreign is not None:
        place, value = foreign
        raise OptionError(
            f"{where}: {place} is {str(value)[:200]!r}, which graphids' own configuration never names; resume runs "
            f"nothing else that a run's folder names. If you know what it does: graphids train --config {where}"
        )


def _foreign(config: dict[str, Any], own: set[str]) -> Iterator[tuple[str, Any]]:
    """Places and values that are not graphids' own."""
    yield from ((key, value) for key, value in config.items() if key not in _KEYS)
    yield from ((key, config[key]) for key in ("optimizer", "lr_scheduler") if config.get(key) is not None)
    for place, value in _leaves({key: value for key, value in config.items() if key != PLAN}):
        name = place.rpartition(".")[2]
        is_foreign_class = name == "class_path" and value not in own
        if is_foreign_class or (isinstance(value, str) and not _is_own(place, value, own)):
            yield place, value
    if PLAN in config:
        yield from _foreign_plan(config[PLAN], own)


def _foreign_plan(plan: Any, own: set[str]) -> Iterator[tuple[str, Any]]:
    """As `_foreign`, of the plan of a sweep, whose options are typed again for each training."""
    keys = ("seeds", "taus", "shared")
    if not isinstance(plan, dict) or not all(isinstance(plan.get(key), list) for key in keys):
        yield PLAN, plan
        return
    yield from ((f"{PLAN}.seeds", seed) for seed in plan["seeds"] if type(seed) is not int)
    yield from ((f"{PLAN}.taus", tau) for tau in plan["taus"] if tau != AUTO and not _WORD.fullmatch(str(tau)))
    options = {option.name for option in OPTIONS}
    for argument in plan["shared"]:
        name, _, value = str(argument).removeprefix("--").partition("=")
        is_dotted = name.partition(".")[0] in NAMESPACES and "." in name
        if name not in options and not (is_dotted and _is_own(name, value, own)):
            yield f"{PLAN}.shared", argument


def _is_own(place: str, value: str, own: set[str]) -> bool:
    # Under `data` are paths of captures and texts, which nothing imports.
    return value in own or place.startswith("data.") or place in _FREE or _WORD.fullmatch(value) is not None


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield place, value
    for key, item in items:
        yield from _leaves(item, f"{place}.{key}".lstrip("."))


def _strings(value: Any) -> Iterator[str]:
    return (leaf for _, leaf in _leaves(value) if isinstance(leaf, str))

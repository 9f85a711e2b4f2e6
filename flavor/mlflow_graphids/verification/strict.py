"""JSON and YAML with exactly one meaning: what two parsers may read differently, or choke on, is refused.

Two parsers can disagree on which of two equal keys counts, so bytes that one has checked could mean something else to
the other. Aliases make a small document large; a deep one overflows the stack of libyaml's binding.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

from graphids._fs import IntegrityError

Buffer = bytes | memoryview

_MAX_YAML_DEPTH = 32  # MLmodel needs 4
_MAX_YAML_EVENTS = 100_000
_MAX_DIGITS = 64  # PyYAML takes quadratic time over a number in base 60: minutes for a megabyte
# The compiled loader takes a tenth of the time; PyYAML has it if it was built with libyaml.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def render_json(value: Any) -> bytes:
    """JSON with one spelling per value: sorted keys, no NaN, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def parse_json(data: Buffer, name: str) -> Any:
    """JSON in UTF-8 in which no object repeats a key and every number is finite.

    Raises:
        IntegrityError: If `data` is not such JSON, or nested too deeply to be read.
    """
    try:
        text = str(data, "utf-8")  # json.loads itself would also guess UTF-16 and UTF-32
        return json.loads(
            text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name}: expected JSON without repeated keys and with finite numbers ({error})."
        ) from error


def parse_yaml(data: Buffer, name: str) -> Any:
    """YAML in UTF-8, with plain values, without repeated keys, aliases and merge keys.

    Raises:
        IntegrityError: If `data` is not such YAML, or nested deeper than any MLmodel.
    """
    try:
        text = str(data, "utf-8")
        _check_events(text)
        return yaml.load(text, Loader=_StrictLoader)
    except Exception as error:  # over a malformed scalar PyYAML raises whatever its code runs into
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise IntegrityError(f"{name}: expected YAML without repeated keys and aliases ({reason}).") from error


def shown(name: str) -> str:
    """A name that somebody else chose, safe to print within a line: no line breaks, no terminal codes."""
    return name if name.isprintable() else repr(name)


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object repeats a key")
    return result


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large for a float")
    return value


def _check_events(text: str) -> None:
    """Refuse, by the stream of events, which needs no stack, what must not reach the recursive composer."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_SafeLoader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("it uses an anchor or an alias")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_YAML_DEPTH or count > _MAX_YAML_EVENTS:
            raise ValueError("it is nested too deeply or has too many entries")


class _StrictLoader(_SafeLoader):  # type: ignore[misc]
    """A safe loader that refuses repeated keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        # Before PyYAML folds merge keys into the mapping, which would hide them.
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(keys) != len(node.value) or any(tag == "tag:yaml.org,2002:merge" for tag, _ in keys):
            raise ValueError("a mapping has a key that is not a plain value")
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(keys):
            raise ValueError("a mapping repeats a key")
        return mapping

    def construct_integer(self, node: Any) -> int:
        if len(node.value) > _MAX_DIGITS:
            raise ValueError(f"a number has more than {_MAX_DIGITS} digits")
        return int(self.construct_yaml_int(node))


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_integer)

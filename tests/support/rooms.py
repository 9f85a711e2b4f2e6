"""The rooms of the code: packages and the modules that stand beside them, and who imports whom.

`python tests/support/rooms.py [CHECKOUT]` prints the floors as the imports alone make them: a room's floor is the
longest chain of imports below it. `tests/test_architecture.py` holds the code to the floors that it declares.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

ROOTS = ("graphids", "flavor/mlflow_graphids")
Imports = Mapping[str, frozenset[str]]


def imports_of(checkout: Path) -> Imports:
    """Every module of graphids and of the flavor, with the modules of theirs that it imports, at its top or later."""
    paths = {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in (checkout / root for root in ROOTS)
        for path in sorted(folder.rglob("*.py"))
    }
    return {name: frozenset(_imported(path) & paths.keys() - {name}) for name, path in paths.items()}


def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room_of(module: str, rooms: Iterable[str]) -> str | None:
    """The innermost of `rooms` that `module` is or lies in."""
    return max((room for room in rooms if f"{module}.".startswith(f"{room}.")), key=len, default=None)


def between(imports: Imports, rooms: Iterable[str]) -> Counter[tuple[str, str]]:
    """How many imports lead from one room into another, by (importing room, imported room)."""
    rooms = list(rooms)
    pairs = (
        (room_of(importer, rooms), room_of(module, rooms))
        for importer, modules in imports.items()
        for module in modules
    )
    return Counter((a, b) for a, b in pairs if a is not None and b is not None and a != b)


def measured_floors(edges: Iterable[tuple[str, str]], rooms: Iterable[str]) -> list[list[str]]:
    """Rooms by floor, the lowest first."""
    below: dict[str, set[str]] = {room: set() for room in rooms}
    for importer, imported in edges:
        below[importer].add(imported)

    @cache
    def floor(room: str) -> int:
        return 1 + max(map(floor, below[room]), default=0)

    floors: list[list[str]] = [[] for _ in range(max(map(floor, below)))]
    for room in sorted(below):
        floors[floor(room) - 1].append(room)
    return floors


def cycle(imports: Imports) -> list[str]:
    """Modules that import one another in a circle, the first again at the end; empty where there are none."""
    done: set[str] = set()

    def search(module: str, trail: tuple[str, ...]) -> list[str]:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return []
        found = next(filter(None, (search(m, (*trail, module)) for m in sorted(imports.get(module, ())))), [])
        done.add(module)
        return found

    return next(filter(None, (search(module, ()) for module in sorted(imports))), [])


def _top_rooms(imports: Imports) -> list[str]:
    """What a reader sees in the folder `graphids`, and the flavor as one room."""
    names = {".".join(name.split(".")[:2]) for name in imports if name.startswith("graphids.")}
    return sorted({*names, "mlflow_graphids"})


def main() -> None:
    """Print floors, rooms and the imports between them."""
    imports = imports_of(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    rooms = _top_rooms(imports)
    edges = between(imports, rooms)
    sizes = Counter(room_of(module, rooms) for module in imports)
    floors = measured_floors(edges, rooms)
    for number, names in reversed(list(enumerate(floors, 1))):
        print(f"floor {number:2}  " + "  ".join(f"{name.removeprefix('graphids.')} ({sizes[name]})" for name in names))
    print(f"\n{len(imports)} modules in {len(rooms)} rooms on {len(floors)} floors; {len(edges)} imports between rooms")


if __name__ == "__main__":
    main()

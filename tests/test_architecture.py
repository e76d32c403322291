"""The rooms and their ranks, as the docstring of the package draws them, against the imports in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import chatdoctor_hub

PACKAGE = Path(chatdoctor_hub.__file__).parent
NAME = "chatdoctor_hub"
FILES = sorted(PACKAGE.rglob("*.py"))
# The package itself only names the homes of what it offers.
IN_ROOMS = [file for file in FILES if file != PACKAGE / "__init__.py"]
LONGEST = 350


def ranks() -> dict[str, int]:
    """Room -> rank, from the table in the docstring."""
    rows = re.findall(r"^ +(\d+)  (\w+(?:, \w+)*)$", chatdoctor_hub.__doc__ or "", re.MULTILINE)
    pairs = [(room, int(rank)) for rank, rooms in rows for room in rooms.split(", ")]
    assert len(pairs) == len(dict(pairs)), "a room stands twice in the table"
    return dict(pairs)


def rooms() -> set[str]:
    """What there is: packages and modules right below the package."""
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    return folders | {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported from this package, wherever in the file it is.

    Args:
        source: of the module.
        package: the package it stands in, which relative imports start from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found = [f"{module}.{alias.name}" for alias in node.names]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("import_module", "__import__"))
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found = [str(node.args[0].value)]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name.split(".")[0] == NAME)


def room_of(name: str) -> str:
    """The room that an imported name lives in; names that the package itself offers count as their homes."""
    path = name.split(".")
    assert len(path) > 1, "import a room, not the whole package"
    home = chatdoctor_hub._HOMES.get(path[1])
    return home.split(".")[1] if home else path[1]


def is_below(other: str, room: str, table: dict[str, int]) -> bool:
    """Of a lower rank; on the ground floor, which raises errors too: named before it in the table."""
    order = list(table)
    on_the_ground = table[room] == table[other] == 0 and order.index(other) < order.index(room)
    return table[other] < table[room] or on_the_ground


def faults(source: str, package: str, room: str, table: dict[str, int]) -> list[str]:
    found = []
    for line, name in imports(source, package):
        if name == f"{NAME}.__version__":
            continue
        other = room_of(name)
        if other != room and not is_below(other, room, table):
            found.append(f"line {line}: {room} (rank {table[room]}) imports {other} (rank {table[other]})")
    return found


def test_the_table_names_every_room_and_no_other() -> None:
    assert set(ranks()) == rooms()


@pytest.mark.parametrize("file", IN_ROOMS, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_of_a_lower_rank(file: Path) -> None:
    path = file.relative_to(PACKAGE)
    package = ".".join((NAME, *path.parent.parts))
    assert faults(file.read_text("utf-8"), package, path.with_suffix("").parts[0], ranks()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from chatdoctor_hub.training import fine_tune", 1),
        ("import chatdoctor_hub.training.tuning as t, chatdoctor_hub.release", 2),
        ("from chatdoctor_hub import training", 1),
        ("from chatdoctor_hub import ChatDoctor, Turn", 1),
        ("def f():\n    from chatdoctor_hub.cli import main", 1),
        ("if TYPE_CHECKING:\n    from chatdoctor_hub.release.card import x", 1),
        ("from ..training import fine_tune", 1),
        ("from .. import training", 1),
        ("importlib.import_module('chatdoctor_hub.inference')", 1),
        ("from chatdoctor_hub.models import locate", 1),
        ("from chatdoctor_hub.corpus.reading.readers import x\nfrom .splits import y\nfrom . import z", 0),
        ("from chatdoctor_hub.errors import x\nfrom chatdoctor_hub import DiseaseTable, __version__", 0),
        ("from chatdoctor_hub_other import x\nimport chatdoctor_hubs", 0),
    ],
)
def test_the_check_itself(source: str, found: int) -> None:
    assert len(faults(source, f"{NAME}.corpus", "corpus", ranks())) == found


def test_the_ground_floor() -> None:
    table = ranks()
    assert is_below("errors", "dialogue", table)
    assert not is_below("dialogue", "errors", table)
    assert not is_below("knowledge", "prompts", table)
    assert not is_below("prompts", "knowledge", table)


def test_no_room_is_a_lumber_room() -> None:
    names = {part for file in FILES for part in file.relative_to(PACKAGE).with_suffix("").parts}
    lumber = {"utils", "util", "common", "helpers", "helper", "misc", "shared"}
    assert not {name for name in names if name.strip("_") in lumber}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_stay_short(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= LONGEST

"""What the modules say they offer, against what they have and what others take from them."""

from __future__ import annotations

import ast
import importlib
import importlib.resources
import importlib.util
import inspect
import pkgutil
from types import ModuleType

import pytest

import chatdoctor_hub

MODULES = sorted(
    [
        "chatdoctor_hub",
        *(found.name for found in pkgutil.walk_packages(chatdoctor_hub.__path__, "chatdoctor_hub.")),
    ]
)


def tree_of(name: str) -> ast.Module:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as file:  # noqa: PTH123 - a path as the loader names it
        return ast.parse(file.read())


def exported(module: ModuleType) -> list[str]:
    return list(module.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_all_is_there_and_true(name: str) -> None:
    module = importlib.import_module(name)
    names = exported(module)
    assert len(names) == len(set(names)), "a name stands twice"
    missing = [item for item in names if not hasattr(module, item)]
    assert missing == []
    private = [item for item in names if item.startswith("_") and item != "__version__"]
    assert private == []


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_defines_for_others_is_exported(name: str) -> None:
    """Functions and classes without an underscore are meant for others, and so belong in `__all__`.

    Not so the verbs of the command line: they are registered, and called by their registrar.
    """
    module = importlib.import_module(name)
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    defined = {
        node.name
        for node in tree_of(name).body
        if isinstance(node, kinds)
        and not node.name.startswith("_")
        and not any(".command(" in ast.unparse(item) for item in node.decorator_list)
    }
    assert defined <= set(exported(module))


@pytest.mark.parametrize("name", MODULES)
def test_what_is_taken_from_a_module_is_exported_by_it(name: str) -> None:
    for node in ast.walk(tree_of(name)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("chatdoctor_hub"):
            continue
        home = importlib.import_module(str(node.module))
        for alias in node.names:
            if not inspect.ismodule(getattr(home, alias.name)):
                assert alias.name in exported(home), f"line {node.lineno} takes it from {node.module}"


def test_lazy_names_resolve_to_what_their_homes_offer() -> None:
    for name, home in chatdoctor_hub._HOMES.items():
        assert getattr(chatdoctor_hub, name) is getattr(importlib.import_module(home), name)
        assert name in importlib.import_module(home).__all__
    assert set(chatdoctor_hub.__all__) == {*chatdoctor_hub._HOMES, "__version__"}
    assert dir(chatdoctor_hub) == sorted(chatdoctor_hub.__all__)


def test_type_checkers_see_the_same_names() -> None:
    block = next(node for node in tree_of("chatdoctor_hub").body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == chatdoctor_hub._HOMES


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'chatdoctor_hub' has no attribute 'Nurse'"):
        _ = chatdoctor_hub.Nurse  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        from chatdoctor_hub import Nurse  # type: ignore[attr-defined]  # noqa: F401


def test_the_package_is_typed() -> None:
    assert importlib.resources.files("chatdoctor_hub").joinpath("py.typed").is_file()

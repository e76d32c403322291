"""The error tree, as its docstring draws it, against the classes."""

from __future__ import annotations

import builtins
import inspect
import pickle
import re

import pytest

from chatdoctor_hub import errors
from chatdoctor_hub.errors import ChatDoctorError, MissingExtraError


def drawn() -> dict[str, tuple[str, str | None, str]]:
    """Name -> (parent, builtin, meaning), from the drawing in the docstring."""
    doc = inspect.getdoc(errors) or ""
    rows = re.findall(
        r"^    ((?:[│ ]   )*)(?:[├└]── )(\w+)(?: +\((\w+)\))?(?: {2,}(\S.*))?$", doc, re.MULTILINE
    )
    tree: dict[str, tuple[str, str | None, str]] = {}
    above = ["ChatDoctorError"]
    for indent, name, builtin, meaning in rows:
        del above[len(indent) // 4 + 1 :]
        tree[name] = (above[-1], builtin or None, meaning)
        above.append(name)
    return tree


def classes() -> dict[str, type[ChatDoctorError]]:
    found = {name: item for name, item in vars(errors).items() if inspect.isclass(item)}
    return {name: item for name, item in found.items() if issubclass(item, ChatDoctorError)}


LEAVES = sorted(name for name, kind in classes().items() if not kind.__subclasses__())
BUILTINS = sorted(name for name, (_, builtin, _) in drawn().items() if builtin)


def test_the_drawing_is_the_tree() -> None:
    tree = drawn()
    assert set(tree) | {"ChatDoctorError"} == set(classes())
    for name, (parent, builtin, _) in tree.items():
        bases = [base.__name__ for base in classes()[name].__bases__]
        assert bases == [parent, *([builtin] if builtin else [])], name


def test_every_error_is_exported() -> None:
    assert sorted(errors.__all__) == sorted(classes())


@pytest.mark.parametrize("name", LEAVES)
def test_each_leaf_is_also_the_builtin_it_resembles(name: str) -> None:
    builtin = drawn()[name][1]
    assert builtin is not None
    assert issubclass(classes()[name], getattr(builtins, builtin))


@pytest.mark.parametrize("name", sorted(drawn()))
def test_each_says_what_it_means(name: str) -> None:
    meaning = drawn()[name][2]
    # What only gathers others needs no word in the drawing.
    assert meaning or classes()[name].__subclasses__()
    assert (classes()[name].__doc__ or "").endswith(".")


@pytest.mark.parametrize("name", sorted(set(classes()) - {"MissingExtraError"}))
def test_the_message_is_shown_as_it_was_given(name: str) -> None:
    """KeyError would quote it, OSError would take it for a number."""
    kind = classes()[name]
    for error in (
        kind("Expected é, found 'x'; do y."),
        pickle.loads(pickle.dumps(kind("Expected é, found 'x'; do y."))),
    ):
        assert type(error) is kind
        assert str(error) == "Expected é, found 'x'; do y."
    assert str(kind()) == name


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = MissingExtraError("torch", "local")
    assert "'torch'" in str(error)
    assert str(error).endswith("pip install 'chatdoctor-hub[local]'")

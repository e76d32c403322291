from __future__ import annotations

import ast
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.knowledge.tables.literals import read_list


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ("[]", ()),
        (" [ ] ", ()),
        ("['a']", ("a",)),
        ("['a', \"b's\", 'c',]", ("a", "b's", "c")),
        (r"['Rotator\'s', 'x\\y']", ("Rotator's", "x\\y")),
        ("['a',\n 'b']", ("a", "b")),
        ("['commas, and [brackets]', 'semi;colons']", ("commas, and [brackets]", "semi;colons")),
        (r"['\x41\u00e9\n']", ("A\u00e9\n",)),
        (r"['no \Such escape', 'odd \\\Such']", ("no \\Such escape", "odd \\\\Such")),
    ],
)
def test_lists_are_read(cell: str, items: tuple[str, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_list(cell) == items


@given(st.lists(st.text()))
def test_what_repr_writes_is_read_back(items: list[str]) -> None:
    assert read_list(repr(items)) == tuple(items)


@given(st.text(alphabet="[]()'\"\\,ab x1\nuN{}#:-") | st.text())
def test_any_cell_is_a_list_or_a_value_error_and_agrees_with_python(cell: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            expected = None
    try:
        items = read_list(cell)
    except ValueError:
        return
    assert list(items) == expected


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "found an empty cell"),
        ("Fever, cough", "found no [ at its start"),
        ("['a', 'b'", "found the end of the cell"),
        ("['a' 'b']", "expected a comma or ] at character 6"),
        ("['a', 'b]", "character 7 of the list, found a quote that is never closed"),
        ("['a', ['b']]", "character 7 of the list, found a list within the list"),
        ("['a', 3]", "character 7 of the list, found something else"),
        ("[b'a']", "found something else"),
        ("['a'] + ['b']", "found more from character 6"),
        (r"['\x4']", "found one that is none"),
        (r"['\N{no such name at all}']", "found one that is none"),
        ("['a\nb']", "found a quote that is never closed"),
        ("[__import__('os').getcwd()]", "found something else"),
    ],
)
def test_what_is_no_list_of_strings_says_where(cell: str, reason: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_list(cell)
    assert reason in str(caught.value)


@pytest.mark.parametrize("cell", ["[" * 60_000, "-" * 60_000 + "1", "[" + "(" * 60_000, "['" + "\\" * 60_000])
def test_hostile_nesting_is_an_error_and_no_crash(cell: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_list(cell)

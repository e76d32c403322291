"""Lists of strings written as Python literals, read with bounds.

`ast.literal_eval` alone takes any expression and can exhaust the stack or the memory on a hostile one.
So the cell is first checked to be one flat list of string literals; only then is it evaluated.
"""

from __future__ import annotations

import ast
import re

__all__ = ["read_list"]

_SPACE = re.compile(r"[ \t\n]*")
_STRING = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = frozenset("\n\\'\"abfnrtvxuUN01234567")


def read_list(cell: str) -> tuple[str, ...]:
    """The strings of a cell such as `['Fever', "Farmer's lung"]`; `[]` has none.

    Raises:
        ValueError: saying what was expected at which character (from 1); it quotes nothing of the cell.
    """
    text = cell.strip()
    _check(text)
    try:
        items = ast.literal_eval(_ESCAPE.sub(_keep_unknown, text))
    except (ValueError, SyntaxError) as error:
        raise ValueError("expected Python's backslash escapes in the list, found one that is none") from error
    return tuple(items)


def _keep_unknown(match: re.Match[str]) -> str:
    r"""Python keeps the backslash of an unknown escape (`\S`) and warns: double it, so that it need not."""
    return match[0] if match[1] in _ESCAPED else "\\" + match[0]


def _check(text: str) -> None:
    """Walk over the list; the position and what is wrong there go into the error."""
    if not text:
        raise ValueError("expected a Python list of strings, found an empty cell (write [] for none)")
    if text[0] != "[":
        raise ValueError(
            "expected a Python list of strings such as ['Fever', 'Cough'], found no [ at its start"
        )
    at = _skip(text, 1)
    while at < len(text) and text[at] != "]":
        string = _STRING.match(text, at)
        if string is None:
            raise ValueError(
                f"expected a quoted string at character {at + 1} of the list, found {_kind(text[at])}"
            )
        at = _skip(text, string.end())
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] not in ("]", ""):
            raise ValueError(f"expected a comma or ] at character {at + 1} of the list, found something else")
    if at >= len(text):
        raise ValueError("expected ] at the end of the list, found the end of the cell")
    if at != len(text) - 1:
        raise ValueError(f"expected the cell to end with its list, found more from character {at + 2}")


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _kind(character: str) -> str:
    if character in "[({":
        return "a list within the list"
    if character in "'\"":
        return "a quote that is never closed"
    return "something else"

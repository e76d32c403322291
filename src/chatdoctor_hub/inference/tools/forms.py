"""`ToolForm`: how a model writes the calls of tools, learned from its own chat template."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["OWN_FORM", "ToolForm", "learn_form"]

Apply = Callable[[Sequence[dict[str, Any]], bool], str]

_NAME, _KEY, _VALUE, _WORDS = "probe_tool", "probe_key", "probe_value", "probe words"
_MARK_CUT = re.compile(r"(?:<[^<>\s]*|\[[A-Z_]*)\Z")


@dataclass(frozen=True)
class ToolForm:
    """The text around and within calls.

    A call is `head`, the tool's name, `middle`, the arguments as JSON, `tail`; calls are `before`, a call,
    then `between` and a call for each further one, `after`.

    Args:
        before: what opens the first call; "" where an answer is a call by being JSON.
        between: what parts two calls; None where an answer has one at most.
        after: what ends the last call.
        head: what stands before the name.
        middle: what stands between name and arguments.
        tail: what stands after the arguments.
        name_key: the key of the name, where name and arguments are in one JSON object; None where the name
            stands outside.
        arguments_key: the key of the arguments, likewise.
    """

    before: str
    between: str | None
    after: str
    head: str
    middle: str
    tail: str
    name_key: str | None = "name"
    arguments_key: str | None = "arguments"

    @property
    def opener(self) -> str:
        """What a reader looks for: the opening mark without the white space around it."""
        return self.before.strip()

    @property
    def closer(self) -> str:
        """The closing mark without the white space around it."""
        return self.after.strip()

    @property
    def comma(self) -> str:
        """What alone may part two calls under one opening mark, or ""."""
        between = (self.between or "").strip()
        return "" if not between or (self.opener and self.opener in between) else between

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        """Calls as this form has them, each a name and its arguments."""
        between = self.between if self.between is not None else "\n"
        texts = (
            f"{self.head}{name}{self.middle}{json.dumps(arguments, ensure_ascii=False)}{self.tail}"
            for name, arguments in calls
        )
        return f"{self.before}{between.join(texts)}{self.after}"


OWN_FORM = ToolForm(
    before="<tool_call>\n",
    between="\n</tool_call>\n<tool_call>\n",
    after="\n</tool_call>",
    head='{"name": "',
    middle='", "arguments": ',
    tail="}",
)
"""The form for models whose template has none; many models know it."""


def learn_form(apply: Apply, specials: Sequence[str]) -> ToolForm | None:
    """The form of a template, read off what it makes of calls.

    Args:
        apply: renders messages, with or without the cue for an answer; raises what the template raises.
        specials: the tokenizer's special tokens; those at the end of a turn are not part of the form.

    Returns:
        The form; None where the template drops calls, or writes arguments other than as JSON.
    """
    opened = apply([_asked()], True)
    ending = apply([_asked(), {"role": "assistant", "content": _WORDS}], False).partition(_WORDS)[2]
    one = _turn(apply([_asked(), _call(1)], False), opened, ending, specials)
    found = _find(one)
    if found is None:
        return None
    return ToolForm(
        before=_opening(one[: found.start]),
        between=_between(apply, opened, ending, specials),
        after=one[found.end :],
        head=one[found.start : found.name],
        middle=one[found.name + len(_NAME) : found.arguments],
        tail="}" if found.keys else "",
        name_key=found.keys[0] if found.keys else None,
        arguments_key=found.keys[1] if found.keys else None,
    )


def _asked() -> dict[str, Any]:
    return {"role": "user", "content": "probe question"}


def _call(count: int) -> dict[str, Any]:
    calls = [
        {
            "id": f"probe000{number}",
            "type": "function",
            "function": {"name": _NAME, "arguments": {_KEY: _VALUE}},
        }
        for number in range(count)
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _turn(text: str, opened: str, ending: str, specials: Sequence[str]) -> str:
    """What the assistant says in `text`: without what comes before it and what ends its turn."""
    alike = (one == other for one, other in zip(text, opened, strict=False))
    start = sum(1 for _ in itertools.takewhile(bool, alike))
    if start < len(opened):
        start -= len(found[0]) if (found := _MARK_CUT.search(text[:start])) else 0
    turn = text[start:]
    turn = turn.removesuffix(ending) if ending else turn
    while cut := next((mark for mark in specials if mark and turn.rstrip().endswith(mark)), ""):
        if cut.strip("<>|/[]").lower().startswith("tool"):
            break
        turn = turn.rstrip().removesuffix(cut)
    return turn


def _opening(text: str) -> str:
    """What opens a call, without an empty thought that a template puts before it."""
    return text.rpartition("</think>")[2].lstrip() if "</think>" in text else text


@dataclass(frozen=True)
class _Found:
    """Where in a turn the first call is: it, its name, its arguments, its end; and its keys."""

    start: int
    name: int
    arguments: int
    end: int
    keys: tuple[str, str] | None


def _find(turn: str) -> _Found | None:
    decoder = json.JSONDecoder()
    for brace in (found.start() for found in re.finditer(r"\{", turn)):
        try:
            value, end = decoder.raw_decode(turn, brace)
        except ValueError:
            continue
        if value == {_KEY: _VALUE}:
            name = turn.rfind(_NAME, 0, brace)
            # Without a mark before the name there is no telling a call from other text.
            marked = name >= 0 and bool(_opening(turn[:name]).strip())
            return _Found(name, name, brace, end, None) if marked else None
        keys = {_kind(item): key for key, item in value.items()} if isinstance(value, dict) else {}
        name = turn.find(f'"{_NAME}"', brace, end) + 1
        arguments = turn.find("{", brace + 1, end)
        if {"name", "arguments"} <= set(keys) and 0 < name < arguments:
            return _Found(brace, name, arguments, end, (keys["name"], keys["arguments"]))
    return None


def _kind(item: Any) -> str:
    return "name" if item == _NAME else "arguments" if item == {_KEY: _VALUE} else "other"


def _between(apply: Apply, opened: str, ending: str, specials: Sequence[str]) -> str | None:
    """What parts two calls; None for a template that takes one at a time."""
    try:
        two = _turn(apply([_asked(), _call(2)], False), opened, ending, specials)
    except Exception:  # noqa: BLE001 - templates refuse with errors of any kind
        return None
    first = _find(two)
    second = _find(two[first.end :]) if first else None
    return two[first.end : first.end + second.start] if first and second else None

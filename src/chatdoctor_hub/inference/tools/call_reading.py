"""`CallReader`: one call of a tool, read while it is written."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from chatdoctor_hub.inference.calls import InvalidToolCall, ToolCall, ToolCallDelta
from chatdoctor_hub.inference.tools.forms import ToolForm

__all__ = ["CallReader"]

_NAME_KEYS = ("name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters")
_SPACE = " \t\r\n"


class CallReader:
    """Reads a call from the brace that opens it, or from its name where that stands outside.

    Args:
        form: how the model writes calls.
        index: which call of the answer it is.
        id: of the call.
        known: where nothing but its content tells a call from other JSON: the names of the tools; else None.

    Attributes:
        done: the call is over.
        refused: it turned out to be other JSON (only with `known`).
        raw: what was read.
    """

    def __init__(self, form: ToolForm, index: int, id: str, known: Collection[str] | None = None) -> None:
        self.done = False
        self.refused = False
        self.raw = ""
        self._form, self._index, self._id, self._known = form, index, id, known
        self._name: str | None = None
        self._given = 0  # characters of the arguments that were given out
        self._announced = False
        self._arguments = ""
        self._times = 0  # arguments were begun
        self._inside = form.name_key is not None
        self._middle = form.middle.strip()
        self._depth, self._quoted, self._escaped = 0, False, False
        self._key: str | None = None
        self._token = ""  # the key or value that is being read, at the outermost level
        self._in_value = False
        self._broken = False  # it does not begin with a brace: read on to the closing mark

    def feed(self, text: str) -> tuple[int, list[ToolCallDelta]]:
        """Read on; returns how many characters belong to the call, and its new pieces."""
        read = 0
        for character in text:
            if self.done or self.refused:
                break
            if self._closes(text, read):
                self.done = True
                break
            self.raw += character
            self._read(character)
            read += 1
        return read, self._pieces()

    def finish(self) -> tuple[ToolCall | InvalidToolCall, list[ToolCallDelta]]:
        """The call, or why it is none; and the pieces that were not given out yet."""
        call = self._call()
        if isinstance(call, ToolCall):
            if not self._announced or self._given == 0:
                return call, [self._piece(call.name, json.dumps(dict(call.arguments), ensure_ascii=False))]
            return call, self._pieces()
        pieces = self._pieces()
        if not self._announced:
            pieces = [self._piece(call.name, self.raw)]
        return call, pieces

    @property
    def named(self) -> bool:
        """Whether the name is known."""
        return self._name is not None

    def _closes(self, text: str, place: int) -> bool:
        """Whether the closing mark stands here although the braces are not closed."""
        mark = self._form.closer
        return len(mark) > 2 and not self._quoted and text.startswith(mark, place)

    def _read(self, character: str) -> None:
        if not self._inside and self._depth == 0 and character != "{":
            self._token += character
            return
        if not self._inside and self._depth == 0:
            self._name = self._token.strip().removesuffix(self._middle).strip()
            self._times = 1
        if self._inside and self._depth == 0 and (self._broken or character != "{"):
            self._broken = self._broken or character not in _SPACE
            return
        if self._inside:
            self._structure(character)
        else:
            self._arguments += character
        self._nest(character)
        self.done = self._depth == 0
        if self._inside and self._known is not None and not self.refused:
            self.refused = self._is_other()

    def _nest(self, character: str) -> None:
        if self._quoted:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._quoted = False
        elif character == '"':
            self._quoted = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1

    def _structure(self, character: str) -> None:
        """Keys and values of the outermost object."""
        if self._depth == 0:
            return
        outermost = self._depth == 1 and not self._quoted
        if outermost and not self._in_value and character == ":":
            self._key, self._in_value = _loaded(self._token), True
            self._token = ""
            self._times += self._key in self._argument_keys()
        elif outermost and self._in_value and character in ",}":
            if self._key in self._name_keys() and self._name is None:
                name = _loaded(self._token)
                self._name = name if isinstance(name, str) else None
            self._in_value, self._token = False, ""
        elif outermost and character == ",":
            self._token = ""
        else:
            self._token += character
            if self._in_value and self._key in self._argument_keys() and self._times == 1:
                self._arguments = self._token

    def _is_other(self) -> bool:
        """Whether this is JSON that calls nothing."""
        if self._name is not None:
            return self._name not in (self._known or ())
        expected = {*self._name_keys(), *self._argument_keys(), "type", "id"}
        return self.done or (self._in_value and self._key not in expected)

    def _name_keys(self) -> tuple[str, ...]:
        return (self._form.name_key or "name", *_NAME_KEYS)

    def _argument_keys(self) -> tuple[str, ...]:
        return (self._form.arguments_key or "arguments", *_ARGUMENT_KEYS)

    def _pieces(self) -> list[ToolCallDelta]:
        """What is new and certain."""
        if self._name is None or self.refused:
            return []
        ready = self._arguments.lstrip(_SPACE)
        if not ready.startswith("{"):  # not begun, or JSON within a string, which only the end can tell
            ready = ""
        new = ready[self._given :]
        if self._announced and not new:
            return []
        self._given = len(ready)
        return [self._piece(self._name, new)]

    def _piece(self, name: str | None, arguments: str) -> ToolCallDelta:
        first, self._announced = not self._announced, True
        return ToolCallDelta(self._index, self._id if first else None, name if first else None, arguments)

    def _call(self) -> ToolCall | InvalidToolCall:
        if not self.done or self._depth > 0:
            return self._invalid("expected a JSON object, found that the text ends within it")
        if self._times > 1:
            return self._invalid("expected the arguments once, found them twice")
        try:
            value = _strict(self._arguments if not self._inside else self.raw)
        except (ValueError, RecursionError) as error:
            reason = (
                error.msg if isinstance(error, json.JSONDecodeError) else "a value that JSON does not have"
            )
            return self._invalid(f"expected a JSON object, found text that is none ({reason})")
        name, arguments = (self._name, value) if not self._inside else self._named(value)
        if not isinstance(name, str) or not name:
            return self._invalid("expected the name of a tool, found none")
        if isinstance(arguments, str):
            try:
                arguments = _strict(arguments) if arguments.strip() else {}
            except (ValueError, RecursionError):
                return self._invalid("expected the arguments as a JSON object, found text that is none", name)
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            return self._invalid("expected the arguments as a JSON object, found another value", name)
        return ToolCall(name, arguments, self._id)

    def _named(self, value: Any) -> tuple[Any, Any]:
        """Name and arguments in a call's object."""
        if not isinstance(value, dict):
            return None, None
        if isinstance(value.get("function"), dict):
            value = value["function"]
        name = next((value[key] for key in self._name_keys() if isinstance(value.get(key), str)), None)
        return name, next((value[key] for key in self._argument_keys() if key in value), None)

    def _invalid(self, error: str, name: str | None = None) -> InvalidToolCall:
        return InvalidToolCall(self.raw, error, name or self._name, self._id)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text.strip().lstrip("{").strip(), strict=False)
    except ValueError:
        return None


def _strict(text: str) -> Any:
    """JSON without the constants that Python adds to it; line breaks in strings are forgiven."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    return json.loads(text, strict=False, parse_constant=refuse)

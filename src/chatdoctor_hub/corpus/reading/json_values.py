"""JSON values of a file, one after the other, in memory that does not grow with the file.

`json_lines` reads one value a line; `json_items` the elements of an array, or the members of an object whose
values are records. The second decodes with `json`'s own scanner on a window that slides over the file.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from chatdoctor_hub.corpus.reading.records import MAX_RECORD, Fault, Record

__all__ = ["json_items", "json_lines", "parse_json"]

_BOM = codecs.BOM_UTF8
_CHUNK = 1 << 18
_SPACE = re.compile(r"[ \t\n\r]*")
_OPEN = re.compile(r'["\[\]{},]')
_IN_STRING = re.compile(r'["\\]')
_UNDECODED = re.compile("[\udc80-\udcff]")
# An escape of a character outside the basic plane has 12 signs; "-Infinity" has 9.
_LONGEST_TOKEN = 16
_TOO_LONG = Fault("size", f"expected at most {MAX_RECORD:,} characters in a record, found more")
_TOO_DEEP = Fault("json", "brackets nested too deeply", "brackets nested too deeply")
_TOO_MANY_DIGITS = Fault("json", "a number of too many digits", "a number of too many digits")
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def parse_json(text: str) -> Any:
    """The JSON value, or a `Fault`. The parser's own message is left out: it may quote the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return _syntax(error.lineno, error.colno)
    except RecursionError:
        return _TOO_DEEP
    except ValueError:
        return _TOO_MANY_DIGITS


def json_lines(stream: BinaryIO) -> Iterator[Record]:
    """One value a line; blank lines are left out. A line that cannot be read costs itself and no other.

    Only the line feed ends a line: JSON strings may hold U+2028 and others that `splitlines` knows. A line
    in another encoding is a fault and is not guessed at: in the wrong code page a unit becomes another sign.
    """
    number = line_number = offset = 0
    while line := stream.readline(MAX_RECORD + 1):
        line_number += 1
        start, offset = offset, offset + len(line)
        fault = None
        value: Any = None
        if len(line) > MAX_RECORD and not line.endswith(b"\n"):
            offset += _skip_line(stream)
            fault = _TOO_LONG
        else:
            if line.startswith(_BOM):
                line, start = line[3:], start + 3
            if line.isspace() or not line:
                continue
            try:
                value = parse_json(line.decode())
            except UnicodeDecodeError as error:
                fault = _encoding(start + error.start)
            if isinstance(value, Fault):
                fault, value = value, None
        number += 1
        yield Record(number, line_number, value, fault)


def _skip_line(stream: BinaryIO) -> int:
    skipped = 0
    while rest := stream.readline(_CHUNK):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def json_items(stream: BinaryIO) -> Iterator[Record]:
    """The elements of the array, or the members of the object, that the file is.

    A value that is too long, too deep or not UTF-8 costs itself; where the text is no longer JSON, the rest of
    the file cannot be told apart, and one last record says so.
    """
    window = _Window(stream)
    closing = {"[": "]", "{": "}"}.get(window.sign())
    if closing is None:
        yield Record(1, None, None, window.fault_here())
        return
    window.at += 1
    number = 0
    after_comma = False
    while window.sign() != closing or after_comma:
        key = ""
        number += 1
        if closing == "}":
            key, fault = window.key()
            if fault:
                yield Record(number, None, None, fault)
                return
        value, fault, is_last = window.value()
        yield Record(number, None, value, fault, key)
        if is_last:
            return
        after_comma = window.sign() == ","
        if after_comma:
            window.at += 1
        elif window.sign() != closing:
            yield Record(number + 1, None, None, window.fault_here())
            return
    window.at += 1
    if window.sign():
        yield Record(number + 1, None, None, window.fault_here())


class _Window:
    """The part of a text that is being looked at; `at` is the place in it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._ended = False
        self._bytes = 0  # that were read
        self._lines = 0  # that ended before the window
        self._column = 0  # signs of the current line before the window
        self._undecoded = -1  # offset of the first byte that is not UTF-8
        self.text = ""
        self.at = 0
        self.more()
        if self.text.startswith("\ufeff"):
            self.at = 1

    def more(self) -> bool:
        """Drop what lies behind and read on; False at the end of the file."""
        if self._ended:
            return False
        ahead = len(self.text) - self.at
        # As much again as is already there, so that trying a long value again and again stays linear.
        chunk = self._stream.read(max(_CHUNK, min(ahead, MAX_RECORD + _CHUNK - ahead)))
        self._ended = not chunk
        waiting = len(self._decoder.getstate()[0])
        new = self._decoder.decode(chunk, final=self._ended)
        if self._undecoded < 0 and not chunk.isascii() and (found := _UNDECODED.search(new)):
            before = new[: found.start()].encode("utf-8", "surrogateescape")
            self._undecoded = self._bytes - waiting + len(before)
        if not new and self._ended:
            return False
        self._bytes += len(chunk)
        passed = self.text.count("\n", 0, self.at)
        self._lines += passed
        self._column = self.at - self.text.rfind("\n", 0, self.at) - 1 + (0 if passed else self._column)
        self.text = self.text[self.at :] + new
        self.at = 0
        return True

    def sign(self) -> str:
        """The next sign that is no white space, without taking it; "" at the end."""
        while True:
            space = _SPACE.match(self.text, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def fault_here(self, at: int = -1) -> Fault:
        """That the text is no JSON at `at`, and that nothing after it was read."""
        at = self.at if at < 0 else at
        passed = self.text.count("\n", 0, at)
        column = at - self.text.rfind("\n", 0, at) + (0 if passed else self._column)
        fault = _syntax(self._lines + passed + 1, column)
        return fault._replace(reason=f"{fault.where}: the file is not JSON from there on and was not read on")

    def key(self) -> tuple[str, Fault | None]:
        """A member's name, with the colon behind it taken as well."""
        if self.sign() != '"':
            return "", self.fault_here()
        name, fault, _ = self.value()
        if fault:
            return "", fault
        if self.sign() != ":":
            return "", self.fault_here()
        self.at += 1
        return str(name), None

    def value(self) -> tuple[Any, Fault | None, bool]:
        """The next value, or its fault, and whether the text cannot be read on after it."""
        self.sign()
        while True:
            try:
                value, end = _scan(self.text, self.at)
            except StopIteration as error:
                place, cut = int(error.value), False
            except json.JSONDecodeError as error:
                place, cut = error.pos, error.msg.startswith("Unterminated string")
            except RecursionError:
                return None, _TOO_DEEP, not self._skip()
            except ValueError:
                return None, _TOO_MANY_DIGITS, not self._skip()
            else:
                # A number may go on in what was not read yet.
                if end + _LONGEST_TOKEN > len(self.text) and self.more():
                    continue
                return self._taken(value, end)
            if not cut and place + _LONGEST_TOKEN <= len(self.text):
                return None, self.fault_here(place), True
            if len(self.text) - self.at > MAX_RECORD:
                return None, _TOO_LONG, not self._skip()
            # `more` moves the window; at the end of the file it does not.
            if not self.more():
                return None, self.fault_here(place), True

    def _taken(self, value: Any, end: int) -> tuple[Any, Fault | None, bool]:
        start, self.at = self.at, end
        if end - start > MAX_RECORD:
            return None, _TOO_LONG, False
        if self._undecoded >= 0 and _UNDECODED.search(self.text, start, end):
            return None, _encoding(self._undecoded), False
        return value, None, False

    def _skip(self) -> bool:
        """Go to the comma or bracket behind the next value, whatever its length; False if there is none."""
        depth = 0
        in_string = False
        while True:
            at = self.at
            while found := (_IN_STRING if in_string else _OPEN).search(self.text, at):
                at = found.end()
                sign = found[0]
                if in_string:
                    in_string = sign != '"'
                    at += in_string  # what a backslash stands before
                elif sign == '"':
                    in_string = True
                elif sign in "[{":
                    depth += 1
                elif depth == 0:
                    self.at = found.start()
                    return True
                elif sign in "]}":
                    depth -= 1
            beyond = max(at - len(self.text), 0)
            self.at = len(self.text)
            if not self.more():
                return False
            self.at = beyond


def _syntax(line: int, column: int) -> Fault:
    return Fault("json", f"not JSON from column {column} on", f"a fault at line {line}, column {column}")


def _encoding(offset: int) -> Fault:
    where = f"another byte at offset {offset}"
    return Fault("encoding", f"expected text in UTF-8, found {where}", where)

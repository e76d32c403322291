"""`AnswerReader`: an answer's text, thoughts and calls, told apart while it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatdoctor_hub.inference.calls import InvalidToolCall, ToolCall, ToolCallDelta
from chatdoctor_hub.inference.tools.call_reading import CallReader
from chatdoctor_hub.inference.tools.forms import OWN_FORM, ToolForm

__all__ = ["AnswerReader", "Piece", "Thinking"]

_PYTHON = "<|python_tag|>"
_SPACE = " \t\r\n"


@dataclass(frozen=True)
class Thinking:
    """How a model marks its thoughts.

    Args:
        opens: the mark before them.
        closes: the mark after them.
        begun: whether the prompt already holds the opening mark.
    """

    opens: str = "<think>"
    closes: str = "</think>"
    begun: bool = False


@dataclass(frozen=True)
class Piece:
    """What became certain of an answer: text, thoughts, pieces of calls."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()

    def __add__(self, other: Piece) -> Piece:
        return Piece(
            self.text + other.text, self.reasoning + other.reasoning, self.tool_calls + other.tool_calls
        )


class AnswerReader:
    """Reads an answer piece by piece; what it makes of it does not depend on where the pieces are cut.

    Thoughts are looked for at the beginning only. Calls are what stands behind the form's opening mark (or
    that of `OWN_FORM`), or, in a form without one, JSON objects at the beginning that name one of the tools.
    White space around thoughts and calls is dropped.

    Args:
        form: how the model writes calls; None to look for none.
        names: of the tools.
        thinking: how it marks thoughts; None to look for none.
        id_of: an id for the call of a number.

    Attributes:
        calls: those read so far.
        invalid: what stood in the place of a call and is none.
    """

    def __init__(
        self,
        form: ToolForm | None,
        names: Sequence[str] = (),
        *,
        thinking: Thinking | None = None,
        id_of: Callable[[int], str] = str,
    ) -> None:
        self.calls: list[ToolCall] = []
        self.invalid: list[InvalidToolCall] = []
        self._form, self._names, self._thinking, self._id_of = form, tuple(names), thinking, id_of
        self._rest = ""
        self._over = False
        self._call: CallReader | None = None
        self._count = 0
        self._bare = form is not None and not form.opener
        self._forms = () if form is None else tuple(f for f in (form, OWN_FORM) if f.opener)
        self._within: ToolForm | None = None  # the form of the call just read
        self._state = self._begin if thinking is not None else self._answer
        self._said = self._parted = False  # there was text; and a call after it
        self._dropping = False  # white space is dropped until something else comes
        if thinking is not None and thinking.begun:
            self._state, self._dropping = self._think, True

    @property
    def thinks(self) -> bool:
        """Whether the answer itself has not begun."""
        return self._state == self._think

    def push(self, text: str) -> Piece:
        """Read on."""
        self._rest += text
        return self._go_on()

    def finish(self) -> Piece:
        """The rest, once nothing more comes."""
        self._over = True
        piece = self._go_on()
        if self._call is not None:
            piece += self._end_call()
            piece += self._go_on()
        return piece

    def _go_on(self) -> Piece:
        piece = Piece()
        while True:
            before = (len(self._rest), self._state, self._call)
            piece += self._state()
            if (len(self._rest), self._state, self._call) == before:
                return piece

    def _begin(self) -> Piece:
        """Before anything else: a thought may come."""
        assert self._thinking is not None
        body = self._rest.lstrip(_SPACE)
        if body.startswith(self._thinking.opens):
            self._rest = body[len(self._thinking.opens) :]
            self._state, self._dropping = self._think, True
        elif not self._may_become(body, (self._thinking.opens,)):
            self._state = self._answer
        return Piece()

    def _think(self) -> Piece:
        assert self._thinking is not None
        self._drop_space()
        at = self._rest.find(self._thinking.closes)
        if at >= 0:
            thought = self._rest[:at].rstrip(_SPACE)
            self._rest = self._rest[at + len(self._thinking.closes) :]
            self._state, self._dropping = self._answer, True
            return Piece(reasoning=thought)
        return Piece(reasoning=self._certain((self._thinking.closes,), trim=True))

    def _answer(self) -> Piece:
        """The beginning of the answer: in some forms, a call is one by being JSON."""
        self._drop_space()
        if not self._bare:
            self._state = self._tell
            return Piece()
        body = self._rest.lstrip(_SPACE)
        if body.startswith(_PYTHON):
            self._rest = body[len(_PYTHON) :]
        elif body.startswith("{"):
            self._rest = body
            self._open(self._form)
        elif not self._may_become(body, (_PYTHON,)):
            self._state = self._tell
        return Piece()

    def _tell(self) -> Piece:
        """Text, until a call is opened."""
        self._drop_space()
        openers = {form.opener: form for form in reversed(self._forms)}
        found = min(((at, mark) for mark in openers if (at := self._rest.find(mark)) >= 0), default=None)
        if found is None:
            return Piece(self._joined(self._certain(tuple(openers), trim=bool(openers))))
        text = self._joined(self._rest[: found[0]].rstrip(_SPACE))
        self._rest = self._rest[found[0] + len(found[1]) :]
        self._dropping = False
        self._open(openers[found[1]])
        return Piece(text)

    def _joined(self, text: str) -> str:
        """Text after a call begins on a line of its own, where there was some before it."""
        if not text:
            return ""
        joint = "\n" if self._said and self._parted else ""
        self._said, self._parted = True, False
        return joint + text

    def _open(self, form: ToolForm | None) -> None:
        assert form is not None
        known = self._names if not form.opener else None
        self._call = CallReader(form, self._count, self._id_of(self._count), known)
        self._within, self._state = form, self._read_call
        self._count += 1

    def _read_call(self) -> Piece:
        assert self._call is not None
        assert self._within is not None
        # Whether a closing mark stands here can only be seen once all of it is here.
        rest, held = self._rest, ""
        if not self._over and (keep := _overlap(rest, self._within.closer)):
            rest, held = rest[:-keep], rest[-keep:]
        read, pieces = self._call.feed(rest)
        self._rest = rest[read:] + held
        unknown = self._over and not self._within.opener and not self._call.named
        if self._call.refused or unknown:
            return self._give_up()
        piece = Piece(tool_calls=tuple(pieces))
        return piece + self._end_call() if self._call.done else piece

    def _give_up(self) -> Piece:
        """What looked like a call is text."""
        assert self._call is not None
        self._rest = self._call.raw + self._rest
        self._call, self._state, self._bare = None, self._tell, False
        self._count -= 1
        return Piece()

    def _end_call(self) -> Piece:
        assert self._call is not None
        call, pieces = self._call.finish()
        if isinstance(call, ToolCall):
            self.calls.append(call)
        else:
            self.invalid.append(call)
        self._call, self._state, self._parted = None, self._after, True
        return Piece(tool_calls=tuple(pieces))

    def _after(self) -> Piece:
        """After a call: its closing mark, then another call or text."""
        assert self._within is not None
        self._dropping = True
        self._drop_space()
        marks = {
            mark: mark == self._within.comma
            for mark in (self._within.closer, self._within.comma, *((";", ",") if self._bare else ()))
            if mark
        }
        for mark, again in marks.items():
            if self._rest.startswith(mark):
                self._rest, self._dropping = self._rest[len(mark) :], True
                if again and not self._bare:
                    self._open(self._within)
                else:
                    self._state = self._answer if self._bare else self._tell
                return Piece()
        if self._bare and self._rest.startswith("{"):
            self._open(self._within)
        elif not self._may_become(self._rest, tuple(marks)):
            self._state = self._tell
        return Piece()

    def _drop_space(self) -> None:
        if self._dropping:
            self._rest = self._rest.lstrip(_SPACE)
            self._dropping = not self._rest

    def _certain(self, marks: Sequence[str], *, trim: bool) -> str:
        """What of the rest is no part of a mark to come, nor white space before one."""
        keep = 0 if self._over else max((_overlap(self._rest, mark) for mark in marks), default=0)
        text = self._rest[: len(self._rest) - keep]
        if trim and not self._over:
            text = text.rstrip(_SPACE)
        self._rest = self._rest[len(text) :]
        return text

    def _may_become(self, text: str, marks: Sequence[str]) -> bool:
        """Whether more text could make one of the marks of it."""
        return not self._over and any(mark.startswith(text) for mark in marks)


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` that is a beginning of `mark`, but not all of it."""
    for length in range(min(len(text), len(mark) - 1), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0

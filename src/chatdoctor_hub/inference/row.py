"""`Row`: one request while it is answered, token by token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from chatdoctor_hub.inference.grammar import Guide
from chatdoctor_hub.inference.text import Detokenizer, StopFinder
from chatdoctor_hub.inference.tools import AnswerReader, Piece, TemplateReader
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, FinishReason, Sampling, TokenLogprob, Usage

__all__ = ["Row"]

_NOTHING = ChatDelta("")


class Row:
    """One request while it is answered.

    Args:
        prompt: its tokens; at least one.
        sampling: its settings.
        budget: tokens it may write: what `sampling` asks for, or what the context leaves.
        ends: tokens that end the model's turn.
        decode: turns token ids into text.
        reader: tells text, thoughts and calls apart; None for an answer that is nothing but text.
        guide: keeps the answer to its grammar; None for an answer that may be anything.
        alternatives: how many likely tokens to report beside each one; None for no log-probabilities.
        constant: how many of the prompt's first tokens stand in every prompt of its kind.

    Attributes:
        finish_reason: why it ended; None until then.
        written: tokens it has got.
        piecewise: whether pieces are read as they come. Else the text is made of all tokens at the end, where nothing
            in it needs looking at before: that takes a fraction of the time.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        budget: int,
        ends: Collection[int],
        decode: Callable[[Sequence[int]], str],
        *,
        reader: AnswerReader | TemplateReader | None = None,
        guide: Guide | None = None,
        alternatives: int | None = None,
        constant: int = 0,
    ) -> None:
        self.prompt = list(prompt)
        self.constant = constant
        self.sampling = sampling
        self.finish_reason: FinishReason | None = None
        self.written = 0
        self.piecewise = False
        self.guide = guide
        self.alternatives = alternatives
        self._budget = budget
        self._ends = frozenset(ends)
        self._reader = reader
        self._pieces: list[Piece] = []
        self._text = Detokenizer(decode)
        self._stops = StopFinder(sampling.stop)
        self._logprobs: list[TokenLogprob] = []
        self._reported = 0

    @property
    def usage(self) -> Usage:
        """Tokens read and written so far."""
        return Usage(input_tokens=len(self.prompt), output_tokens=self.written)

    @property
    def left(self) -> int:
        """Tokens it may still write."""
        return self._budget - self.written

    def take(self, token: int, logprob: TokenLogprob | None = None) -> ChatDelta:
        """Add a token; returns what it made certain, and sets `finish_reason` when it is the last."""
        self.written += 1
        ends_turn = token in self._ends
        if self.guide is not None and self.guide.restricts:
            self.guide.matcher.accept(token)
        if logprob is not None and not ends_turn:
            self._logprobs.append(logprob)
        ended = ends_turn or (self.guide is not None and self.guide.finished)
        over = ended or self.left <= 0
        if self._unread:
            if not ends_turn:
                self._text.hold(token)
            if not over:
                return _NOTHING
        text = "" if ends_turn or self._unread else self._stops.feed(self._text.push(token))
        if over and not self._stops.found:
            text += self._stops.feed(self._text.flush())
            text += self._stops.flush()
        over = over or self._stops.found
        piece = self._read(text, over)
        if over:
            self.finish_reason = self._reason(ended)
        self._pieces.append(piece)
        return self._delta(piece)

    def reply(self, model: str) -> ChatReply:
        """The whole answer."""
        whole = Piece(
            "".join(piece.text for piece in self._pieces), "".join(piece.reasoning for piece in self._pieces)
        )
        return ChatReply(
            whole.text,
            self.finish_reason or "stop",
            self.usage,
            model,
            tool_calls=tuple(self._reader.calls) if self._reader is not None else (),
            invalid_tool_calls=tuple(self._reader.invalid) if self._reader is not None else (),
            reasoning=whole.reasoning,
            logprobs=tuple(self._logprobs) if self.alternatives is not None else None,
        )

    def last_delta(self) -> ChatDelta:
        """The last piece of a stream: the finish reason and the usage."""
        return replace(self._delta(Piece(), always=True), finish_reason=self.finish_reason, usage=self.usage)

    @property
    def _unread(self) -> bool:
        """Whether nobody looks at the text before it is whole."""
        return not (self.piecewise or self.sampling.stop or self._reader or self.guide)

    def _read(self, text: str, over: bool) -> Piece:
        if self._reader is None:
            return Piece(text)
        piece = self._reader.push(text)
        if over:
            piece += self._reader.finish()
        if self.guide is not None and self.guide.waits and not self._reader.thinks:
            self.guide.begin()
        return piece

    def _reason(self, ended: bool) -> FinishReason:
        """An answer that had to be brought to its end is one that ran out of tokens, though it is whole."""
        if not (ended or self._stops.found) or (self.guide is not None and self.guide.hurried):
            return "length"
        return "tool_calls" if self._reader is not None and self._reader.calls else "stop"

    def _delta(self, piece: Piece, *, always: bool = False) -> ChatDelta:
        """A piece with the log-probabilities that came since the last one that says something."""
        says = always or bool(piece.text or piece.reasoning or piece.tool_calls)
        new = tuple(self._logprobs[self._reported :]) if says else ()
        self._reported += len(new)
        return ChatDelta(
            piece.text, reasoning=piece.reasoning, tool_calls=piece.tool_calls, logprobs=new or None
        )

"""The decode loop: one padded forward pass a token for a whole batch, over any causal language model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.choosing import Chooser
from chatdoctor_hub.inference.grammar import Guide, restrict
from chatdoctor_hub.inference.text import Detokenizer, StopFinder
from chatdoctor_hub.inference.tools import AnswerReader, Piece, TemplateReader
from chatdoctor_hub.inference.traits import forward_arguments
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, FinishReason, Sampling, TokenLogprob, Usage

if TYPE_CHECKING:
    import torch

__all__ = ["Decoder", "Row"]


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
    ) -> None:
        self.prompt = list(prompt)
        self.sampling = sampling
        self.finish_reason: FinishReason | None = None
        self.written = 0
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
        text = "" if ends_turn else self._stops.feed(self._text.push(token))
        ended = ends_turn or (self.guide is not None and self.guide.finished)
        over = ended or self.left <= 0
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


class Decoder:
    """Answers the rows of one batch together, a token at a step.

    Prompts are padded on the left; the mask and the position ids hide the padding, so a row's scores do
    not depend on its neighbours. A row that is finished leaves the batch, its part of the cache with it.
    Nothing runs between steps: whoever stops calling `step` has stopped the generation.

    Args:
        model: a causal language model of transformers, with or without adapters of peft.
        rows: what to answer; at least one.
        padding: any token id; what it stands for is hidden.
        spell: the text of a token, for log-probabilities.
    """

    def __init__(
        self, model: Any, rows: Sequence[Row], padding: int, spell: Callable[[int], str] = str
    ) -> None:
        self._model = model
        self._active = list(rows)
        self._padding = padding
        self._spell = spell
        self._cache: Any = None
        self._chooser: Chooser | None = None
        self._takes = forward_arguments(model)

    @property
    def active(self) -> bool:
        """Whether a row is still being answered."""
        return bool(self._active)

    def step(self) -> list[tuple[Row, ChatDelta]]:
        """One token for every row that is not finished.

        To be called in torch's inference mode.

        Returns:
            The rows that took part, each with what is new of its answer (which may be nothing).

        Raises:
            GenerationError: when the model's scores are no numbers, or none of its tokens is allowed.
        """
        import torch

        logits = self._forward()
        if bool(torch.isnan(logits).any()):
            raise GenerationError(
                f"Expected scores from the model, found NaN after {self._active[0].written} tokens; its "
                "weights are damaged, or the dtype is too narrow: try dtype='float32'."
            )
        if self._chooser is None:
            self._chooser = Chooser(
                [row.sampling for row in self._active],
                [row.prompt for row in self._active],
                logits.shape[-1],
                logits.device,
            )
        allowed = restrict(logits, [row.guide for row in self._active])
        tokens = self._chooser.choose(allowed, self._settled)
        logprobs = self._logprobs(logits, tokens)
        taken = [
            (row, row.take(token, logprob))
            for row, token, logprob in zip(self._active, tokens, logprobs, strict=True)
        ]
        self._go_on(tokens)
        return taken

    def _settled(self, tokens: list[int]) -> list[int]:
        """The tokens to write, where a grammar has something to say about it."""
        return [
            token if row.guide is None else row.guide.settle(token, row.left)
            for row, token in zip(self._active, tokens, strict=True)
        ]

    def _logprobs(self, logits: torch.Tensor, tokens: Sequence[int]) -> list[TokenLogprob | None]:
        """What the model itself gave each token, before penalties, grammars and temperature."""
        found: list[TokenLogprob | None] = [None] * len(tokens)
        for place, (row, token) in enumerate(zip(self._active, tokens, strict=True)):
            if row.alternatives is None:
                continue
            scores = logits[place].log_softmax(dim=-1)
            top = scores.topk(min(row.alternatives, len(scores)))
            found[place] = TokenLogprob(
                self._spell(token),
                float(scores[token]),
                tuple(
                    (self._spell(other), score)
                    for other, score in zip(top.indices.tolist(), top.values.tolist(), strict=True)
                ),
            )
        return found

    def _forward(self) -> torch.Tensor:
        """Scores of the next token, (rows, vocabulary), float32."""
        if self._cache is None:
            self._begin()
        given: dict[str, Any] = {"position_ids": self._positions, "logits_to_keep": 1}
        output = self._model(
            input_ids=self._input,
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            return_dict=True,
            **{name: value for name, value in given.items() if name in self._takes},
        )
        self._cache = output.past_key_values
        logits: torch.Tensor = output.logits[:, -1, :].float()
        return logits

    def _begin(self) -> None:
        import torch
        from transformers import DynamicCache

        device = next(self._model.parameters()).device
        width = max(len(row.prompt) for row in self._active)
        gaps = [width - len(row.prompt) for row in self._active]
        self._input = torch.tensor(
            [[self._padding] * gap + row.prompt for gap, row in zip(gaps, self._active, strict=True)],
            device=device,
        )
        self._mask = (torch.arange(width) >= torch.tensor(gaps).unsqueeze(1)).long().to(device)
        self._positions = (self._mask.cumsum(dim=-1) - 1).clamp(min=0)
        self._cache = DynamicCache(config=self._model.config)

    def _go_on(self, tokens: Sequence[int]) -> None:
        """Drop finished rows and set up the next step."""
        import torch

        keep = [place for place, row in enumerate(self._active) if row.finish_reason is None]
        if not keep:
            self._active, self._cache, self._chooser = [], None, None
            return
        if len(keep) < len(self._active):
            rows = torch.tensor(keep, device=self._mask.device)
            self._cache.reorder_cache(rows)
            self._mask, self._positions = self._mask[rows], self._positions[rows]
            self._active = [self._active[place] for place in keep]
            if self._chooser is not None:
                self._chooser.keep(keep)
        self._input = torch.tensor([[tokens[place]] for place in keep], device=self._mask.device)
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(keep), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1

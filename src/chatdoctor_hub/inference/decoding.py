"""The decode loop: one padded forward pass a token for a whole batch, over any causal language model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.choosing import Chooser
from chatdoctor_hub.inference.text import Detokenizer, StopFinder
from chatdoctor_hub.inference.traits import forward_arguments
from chatdoctor_hub.inference.types import FinishReason, Sampling, Usage

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
    """

    def __init__(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        budget: int,
        ends: Collection[int],
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        self.prompt = list(prompt)
        self.sampling = sampling
        self.finish_reason: FinishReason | None = None
        self.written = 0
        self._budget = budget
        self._ends = frozenset(ends)
        self._pieces: list[str] = []
        self._text = Detokenizer(decode)
        self._stops = StopFinder(sampling.stop)

    @property
    def text(self) -> str:
        """What is certain of the answer so far."""
        return "".join(self._pieces)

    @property
    def usage(self) -> Usage:
        """Tokens read and written so far."""
        return Usage(input_tokens=len(self.prompt), output_tokens=self.written)

    def take(self, token: int) -> str:
        """Add a token; returns the text it made certain, and sets `finish_reason` when it is the last."""
        self.written += 1
        ends_turn = token in self._ends
        text = "" if ends_turn else self._stops.feed(self._text.push(token))
        over = ends_turn or self.written >= self._budget
        if over and not self._stops.found:
            text += self._stops.feed(self._text.flush())
            text += self._stops.flush()
        if ends_turn or self._stops.found:
            self.finish_reason = "stop"
        elif over:
            self.finish_reason = "length"
        self._pieces.append(text)
        return text


class Decoder:
    """Answers the rows of one batch together, a token at a step.

    Prompts are padded on the left; the mask and the position ids hide the padding, so a row's scores do
    not depend on its neighbours. A row that is finished leaves the batch, its part of the cache with it.
    Nothing runs between steps: whoever stops calling `step` has stopped the generation.

    Args:
        model: a causal language model of transformers, with or without adapters of peft.
        rows: what to answer; at least one.
        padding: any token id; what it stands for is hidden.
    """

    def __init__(self, model: Any, rows: Sequence[Row], padding: int) -> None:
        self._model = model
        self._active = list(rows)
        self._padding = padding
        self._cache: Any = None
        self._chooser: Chooser | None = None
        self._takes = forward_arguments(model)

    @property
    def active(self) -> bool:
        """Whether a row is still being answered."""
        return bool(self._active)

    def step(self) -> list[tuple[Row, str]]:
        """One token for every row that is not finished.

        To be called in torch's inference mode.

        Returns:
            The rows that took part, each with its new text (which may be "").

        Raises:
            GenerationError: when the model's scores are no numbers.
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
        tokens = self._chooser.choose(logits)
        taken = [(row, row.take(token)) for row, token in zip(self._active, tokens, strict=True)]
        self._go_on(tokens)
        return taken

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

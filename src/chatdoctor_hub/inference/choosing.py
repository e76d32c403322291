"""Choosing the next token of every row of a batch, each by its own settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chatdoctor_hub.inference.types import Sampling

if TYPE_CHECKING:
    import torch

__all__ = ["Chooser"]

# As far as settings go: scores stay finite when they are divided by its inverse, or multiplied by it.
_MOST = 1e30


class Chooser:
    """Greedy or drawn, a row at a time in meaning, all rows at once in fact.

    A drawn row takes one random number a token from a generator of its own and turns it into a token by
    the inverse of the cumulative distribution over the sorted tokens, so its draws do not depend on what
    other rows do. The settings mean what they mean in transformers' `generate`; frequency and presence
    penalties, which it does not have, mean what they mean in OpenAI's API: they count what was written, not
    the prompt, and come after the repetition penalty.

    Args:
        samplings: one a row.
        prompts: the rows' prompt tokens, which count as seen for the repetition penalty.
        vocabulary: number of scores a row (the width of the logits).
        device: where the logits will be.
    """

    def __init__(
        self,
        samplings: Sequence[Sampling],
        prompts: Sequence[Sequence[int]],
        vocabulary: int,
        device: torch.device,
    ) -> None:
        import torch

        self._samplings = list(samplings)
        self._generators = [_generator(sampling) for sampling in samplings]
        self._seen: torch.Tensor | None = None
        if any(sampling.repetition_penalty != 1 for sampling in samplings):
            self._seen = torch.zeros(len(prompts), vocabulary, dtype=torch.bool, device=device)
            for row, prompt in enumerate(prompts):
                self._seen[row, torch.tensor(list(prompt), device=device)] = True
        self._written: torch.Tensor | None = None
        if any(sampling.frequency_penalty or sampling.presence_penalty for sampling in samplings):
            self._written = torch.zeros(len(prompts), vocabulary, dtype=torch.float32, device=device)
        self._settle(device)

    def _settle(self, device: torch.device) -> None:
        """Make the tensors of settings for the rows there are now."""
        import torch

        drawn = [row for row, sampling in enumerate(self._samplings) if sampling.temperature > 0]
        self._drawn = torch.tensor(drawn, dtype=torch.long, device=device)

        def column(values: list[float]) -> torch.Tensor:
            # What float32 cannot hold would make NaN of scores, and of one row's a failure of all.
            held = [min(max(value, -_MOST), _MOST) for value in values]
            return torch.tensor(held, dtype=torch.float32, device=device).unsqueeze(1)

        self._temperature = column([max(self._samplings[row].temperature, 1 / _MOST) for row in drawn])
        self._top_p = column([self._samplings[row].top_p for row in drawn])
        self._top_k = column([self._samplings[row].top_k or _MOST for row in drawn])
        self._penalty = column([max(sampling.repetition_penalty, 1 / _MOST) for sampling in self._samplings])
        self._each = column([sampling.frequency_penalty for sampling in self._samplings])
        self._once = column([sampling.presence_penalty for sampling in self._samplings])

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        self._samplings = [self._samplings[row] for row in rows]
        self._generators = [self._generators[row] for row in rows]
        if self._seen is not None:
            self._seen = self._seen[list(rows)]
        if self._written is not None:
            self._written = self._written[list(rows)]
        self._settle(self._penalty.device)

    def join(self, other: Chooser) -> None:
        """Go on with the rows of another chooser as well, below these."""
        self._seen = _below(self._seen, other._seen, len(self._samplings), len(other._samplings))
        self._written = _below(self._written, other._written, len(self._samplings), len(other._samplings))
        self._samplings += other._samplings
        self._generators += other._generators
        self._settle(self._penalty.device)

    def choose(
        self, logits: torch.Tensor, settle: Callable[[list[int]], list[int]] | None = None
    ) -> list[int]:
        """The next token of each row.

        Args:
            logits: scores, (rows, vocabulary), float32; -inf for what may not be written.
            settle: turns the tokens that were chosen into those to write.
        """
        import torch

        if self._seen is not None:
            less = torch.where(logits > 0, logits / self._penalty, logits * self._penalty)
            logits = torch.where(self._seen, less, logits)
        if self._written is not None:
            logits = logits - self._each * self._written - self._once * (self._written > 0)
        tokens = logits.argmax(dim=-1)
        if len(self._drawn):
            tokens[self._drawn] = self._draw(logits[self._drawn])
        chosen: list[int] = tokens.tolist()
        if settle is not None:
            chosen = settle(chosen)
        rows = range(len(chosen))
        if self._seen is not None:
            self._seen[rows, chosen] = True
        if self._written is not None:
            self._written[rows, chosen] += 1
        return chosen

    def _draw(self, logits: torch.Tensor) -> torch.Tensor:
        """One token for each of the drawn rows; `logits` is (drawn rows, vocabulary)."""
        import torch

        # The likeliest token is at 0, whatever the temperature: nothing grows beyond float32.
        below = logits - logits.amax(dim=-1, keepdim=True)
        scores, order = (below / self._temperature).sort(dim=-1, descending=True, stable=True)
        rank = torch.arange(scores.shape[-1], device=scores.device)
        scores = scores.masked_fill(rank >= self._top_k, float("-inf"))
        chances = scores.softmax(dim=-1)
        before = chances.cumsum(dim=-1) - chances
        # The likeliest token always stays, whatever rounding does to `before`.
        chances = chances.masked_fill((before >= self._top_p) & (rank > 0), 0.0)
        total = chances.cumsum(dim=-1)
        numbers = torch.stack(
            [torch.rand(1, generator=generator) for generator in self._generators if generator is not None]
        )
        target = numbers.to(total) * total[:, -1:]
        place = torch.searchsorted(total, target, right=True)
        last = (chances > 0).sum(dim=-1, keepdim=True) - 1
        return order.gather(1, torch.minimum(place, last)).squeeze(1)


def _below(
    mine: torch.Tensor | None, theirs: torch.Tensor | None, rows: int, more: int
) -> torch.Tensor | None:
    """One table of counts above the other; rows of a chooser that keeps none need none."""
    import torch

    known = mine if mine is not None else theirs
    if known is None:
        return None
    width = known.shape[1]
    return torch.cat(
        [
            mine if mine is not None else known.new_zeros(rows, width),
            theirs if theirs is not None else known.new_zeros(more, width),
        ]
    )


def _generator(sampling: Sampling) -> torch.Generator | None:
    if sampling.temperature == 0:
        return None
    import torch

    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    return generator

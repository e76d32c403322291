"""`PrefixCache`: what every prompt begins with is computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatdoctor_hub.inference.beginnings import common_length
from chatdoctor_hub.inference.scheduling.caches import bytes_of, can_be_begun, expanded, own
from chatdoctor_hub.inference.scheduling.passes import Forward, Forwards

if TYPE_CHECKING:
    from transformers import DynamicCache

__all__ = ["PrefixCache"]

_MOST = 8
_FEWEST_TOKENS = 16
_LEAST_BYTES = 256 * 2**20


class PrefixCache:
    """The keys and values of the beginnings of prompts, kept between requests.

    At most eight beginnings are kept, in no more memory than a quarter of the weights take or 256 MiB, whichever
    is more; the one that was not used for the longest time goes first. A beginning that is new is computed from
    where it parts from one that is kept. Nothing a patient wrote is in it: whoever makes the rows says how much
    of a prompt is constant. Only for models that attend to all tokens in every layer; the scheduler's thread
    alone uses it.

    Args:
        forwards: what computes.
        on: False keeps nothing, and gives virtual tokens only.
    """

    def __init__(self, forwards: Forwards, on: bool = True) -> None:
        self._forwards, self._on = forwards, on
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], DynamicCache] = OrderedDict()
        self._able: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def serves(self, key: str, tokens: int) -> bool:
        """Whether a beginning of so many tokens is worth keeping, and can be."""
        if not self._on or tokens < _FEWEST_TOKENS:
            return False
        if key not in self._able:
            self._able[key] = can_be_begun(self._forwards.of(key).empty_cache())
        return self._able[key]

    def beginning(self, key: str, tokens: Sequence[int], rows: int) -> DynamicCache | None:
        """A cache whose rows begin with these tokens, after the virtual ones; None where there is nothing to begin with.

        To be called in torch's inference mode.
        """
        forward, wanted = self._forwards.of(key), (key, tuple(tokens))
        kept = self._kept.get(wanted) if tokens else self._forwards.opening(key)
        if kept is None:
            if not tokens:
                return None
            kept = self._kept[wanted] = self._computed(forward, key, tokens)
            self._drop(forward.weights)
        if tokens:
            self._kept.move_to_end(wanted)
        return expanded(forward.empty_cache(), kept, rows)

    def _computed(self, forward: Forward, key: str, tokens: Sequence[int]) -> DynamicCache:
        import torch

        cache, done = self._nearest(forward, key, tokens)
        if done < len(tokens):
            before, new = cache.get_seq_length(), len(tokens) - done
            _, cache = forward(
                torch.tensor([list(tokens[done:])], device=forward.device),
                torch.ones(1, before + new, dtype=torch.long, device=forward.device),
                torch.arange(before, before + new, device=forward.device).unsqueeze(0),
                cache,
            )
        own(cache)
        return cache

    def _nearest(self, forward: Forward, key: str, tokens: Sequence[int]) -> tuple[DynamicCache, int]:
        """What is kept of the same beginning, as far as it is the same."""
        opening = self._forwards.opening(key)
        near = [
            (common_length(tokens, other), cache)
            for (owner, other), cache in self._kept.items()
            if owner == key
        ]
        same, cache = max(near, key=lambda found: found[0], default=(0, None))
        if cache is not None and same:
            virtual = opening.get_seq_length() if opening is not None else 0
            return expanded(forward.empty_cache(), cache, 1, virtual + same), same
        return (opening if opening is not None else forward.empty_cache()), 0

    def _drop(self, weights: int) -> None:
        """Keep the newest, and as many others as there is room for."""
        room = max(weights // 4, _LEAST_BYTES)
        while len(self._kept) > _MOST or (
            len(self._kept) > 1 and sum(map(bytes_of, self._kept.values())) > room
        ):
            self._kept.popitem(last=False)

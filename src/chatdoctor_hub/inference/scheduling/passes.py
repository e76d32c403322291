"""Forward passes: what a model computes in one, and how many of them a number of prompts is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from chatdoctor_hub.inference.traits import forward_arguments

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

__all__ = ["Forward", "Forwards", "Models", "cost_of_a_pass", "parted"]


class Models(Protocol):
    """The models that a scheduler answers with, by key."""

    def model(self, key: str) -> Any:
        """What computes the scores."""
        ...

    def opening(self, key: str) -> DynamicCache | None:
        """A new cache of one row, with virtual tokens that every row begins with; None where there are none."""
        ...


class Forward:
    """The forward pass of one model.

    Args:
        model: a causal language model of transformers, with or without adapters of peft.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._takes = forward_arguments(model)

    @property
    def device(self) -> torch.device:
        """Where the tokens go in."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def weights(self) -> int:
        """Bytes that the weights take."""
        return sum(weight.nbytes for weight in self.model.parameters())

    @property
    def is_told_positions(self) -> bool:
        """Whether the model is told where a token stands; others count columns, or what the mask shows."""
        return "position_ids" in self._takes

    def empty_cache(self) -> DynamicCache:
        """A cache with the kinds of layers that the model has."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        from chatdoctor_hub.inference.scheduling.layers import RoomyLayer

        cache = DynamicCache(config=self.model.config)
        cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        return cache

    def __call__(
        self, tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any
    ) -> tuple[torch.Tensor, Any]:
        """Scores of the token after the last one, (rows, vocabulary), float32, and the cache with the tokens in it.

        To be called in torch's inference mode.

        Args:
            tokens: new ones, (rows, columns).
            mask: 0 for padding, (rows, columns of the cache and new ones).
            positions: of the new ones, (rows, columns).
            cache: what came before.
        """
        if self.model.training:
            self.model.eval()
        given: dict[str, Any] = {"position_ids": positions, "logits_to_keep": 1}
        output = self.model(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
            **{name: value for name, value in given.items() if name in self._takes},
        )
        return output.logits[:, -1, :].float(), output.past_key_values


class Forwards:
    """The forward passes of an engine's models, by key.

    Args:
        models: what computes.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._known: dict[str, Forward] = {}

    def of(self, key: str) -> Forward:
        """That of one model."""
        if key not in self._known:
            self._known[key] = Forward(self._models.model(key))
        return self._known[key]

    def opening(self, key: str) -> DynamicCache | None:
        """What every row of that model begins with, as `Models.opening` says."""
        return self._models.opening(key)


def cost_of_a_pass(device: torch.device) -> int:
    """How many tokens could be computed in the time that a pass takes before its first one: to read the weights."""
    return 64 if device.type == "cpu" else 512


def parted(lengths: Sequence[int], cost: int) -> list[list[int]]:
    """Which prompts to compute in one padded pass, so that padding and passes together cost least.

    Args:
        lengths: of the prompts.
        cost: of a pass, in tokens.

    Returns:
        Places in `lengths`, pass by pass, the shortest first.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    # best[n]: least cost of the n shortest, and where the last pass of that begins.
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(order) + 1):
        width = lengths[order[end - 1]]
        best.append(min((best[start][0] + (end - start) * width + cost, start) for start in range(end)))
    passes, end = [], len(order)
    while end > 0:
        start = best[end][1]
        passes.append(order[start:end])
        end = start
    return passes[::-1]

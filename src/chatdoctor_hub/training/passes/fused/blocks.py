"""Blocks of Llama's kind: found in a model, and run as two halves on flat batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.training.passes.fused.halves import AttentionHalf, MlpHalf, Norm, Places
from chatdoctor_hub.training.passes.fused.products import Products
from chatdoctor_hub.training.passes.fused.sites import NotFusedError, Site, branch_of, is_series, site_of

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["FusedBlock", "blocks_in", "siblings_in"]

_KINDS = frozenset({"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer"})
_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


def blocks_in(model: Any) -> Iterator[Any]:
    """The blocks of `model` that `FusedBlock` knows."""
    for module in model.modules():
        if type(module).__name__ in _KINDS and type(module).__module__.startswith("transformers.models."):
            yield module


def siblings_in(model: Any) -> Iterator[list[Any]]:
    """Layers that read the same input, by their names: queries, keys and values; gate and up."""
    for module in model.modules():
        for names in _SIBLINGS:
            found = [getattr(module, name, None) for name in names]
            if all(isinstance(item, torch.nn.Module) for item in found):
                yield found


class FusedBlock:
    """A block whose two halves are each one step of the graph.

    Args:
        block: of transformers, its linear layers adapted or not.
        dtype: of the passes.

    Attributes:
        last: whether no other block is behind this one, so that it may give the `kept_rows` of its output alone.

    Raises:
        NotFusedError: where one of its parts cannot be fused.
    """

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        attention, mlp = block.self_attn, block.mlp
        self._sites: list[Site] = []
        self._around, beside = None, None
        if type(mlp).__name__ == "ParallelLayer":
            self._around, beside, mlp = mlp, branch_of(mlp, dtype), mlp.base_layer
        config = attention.config
        if block.training and config.attention_dropout > 0:
            raise NotFusedError("attention has dropout")
        if not hasattr(mlp, "gate_proj") or config.hidden_act != "silu":
            raise NotFusedError(f"the feed-forward block is a {type(mlp).__name__}")
        self.last = False
        self._own: Callable[..., Any] = block.forward
        self._window = getattr(attention, "sliding_window", getattr(config, "sliding_window", None))
        size = attention.head_dim
        heads = (config.num_attention_heads, config.num_key_value_heads)
        self._attention = AttentionHalf(
            _norm(block.input_layernorm),
            self._products(dtype, attention.q_proj, attention.k_proj, attention.v_proj),
            self._products(dtype, attention.o_proj),
            heads,
            size,
            attention.scaling,
        )
        self._mlp = MlpHalf(
            _norm(block.post_attention_layernorm),
            self._products(dtype, mlp.gate_proj, mlp.up_proj),
            self._products(dtype, mlp.down_proj),
            beside,
        )

    def _products(self, dtype: torch.dtype, *modules: Any) -> Products:
        sites = [site_of(module, dtype) for module in modules]
        self._sites += sites
        series = [site.branch for site in sites if is_series(site.layer)]
        if series and len(sites) > 1:
            raise NotFusedError("a series adapter is behind one of several layers")
        return Products(
            [site.weight for site in sites],
            [site.bias for site in sites],
            [None if series else site.branch for site in sites],
            series[0] if series else None,
        )

    def refresh(self) -> None:
        """Take the values of the adapters over."""
        self._attention.refresh()
        self._mlp.refresh()

    def __call__(
        self,
        hidden_states: torch.Tensor,
        *args: Any,
        position_embeddings: Any = None,
        kept_rows: torch.Tensor | None = None,
        **more: Any,
    ) -> Any:
        """As the block's own forward, which is used for all but flat batches with the adapter on."""
        rows = kept_rows if self.last else None
        longest = more.get("max_length_q")
        if (
            args
            or position_embeddings is None
            or more.get("cu_seq_lens_q") is None
            or longest is None
            or (self._window or longest) < longest
            or any(site.off for site in self._sites)
            or (self._around is not None and (self._around.disable_adapters or self._around.merged))
        ):
            output = self._own(hidden_states, *args, position_embeddings=position_embeddings, **more)
            return output if rows is None else output[:, rows]
        places = _places(position_embeddings, more["cu_seq_lens_q"])
        if rows is not None:
            places = replace(places, rows=rows)
        return self._mlp(self._attention(hidden_states[0], places)).unsqueeze(0)


def _norm(module: Any) -> Norm:
    if any(parameter.requires_grad for parameter in module.parameters()):
        raise NotFusedError("weights of the base are trained")
    return Norm(module.weight.detach(), float(module.variance_epsilon))


def _places(embeddings: tuple[torch.Tensor, torch.Tensor], bounds: torch.Tensor) -> Places:
    """Worked out once a batch: every block gets the same tensors."""
    found = getattr(embeddings[0], "_chatdoctor_places", None)
    if found is None:
        cosine, sine = (item[0, :, None, : item.shape[-1] // 2].float() for item in embeddings)
        found = Places(bounds.diff().tolist(), cosine, sine)
        embeddings[0]._chatdoctor_places = found  # type: ignore[attr-defined]
    return found

"""A model of the LLaMA family as GGUF names it: hyperparameters, and one tensor after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.models import first_line
from chatdoctor_hub.training.weights.stored import StoredWeights

if TYPE_CHECKING:
    import numpy

__all__ = ["FAMILIES", "GgufModel"]

FAMILIES = {"llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}
"""Model type of transformers -> architecture of GGUF."""
_ROPES = ("default", "linear", "llama3", "yarn")


class GgufModel:
    """A model on disk, read a tensor at a time.

    Args:
        folder: of the model, safetensors.

    Raises:
        ModelFormatError: for another family, or a variant of one that GGUF's readers do not know.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig

        self.folder, self._stored = folder, StoredWeights(folder)
        try:
            self.config = AutoConfig.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise ModelFormatError(
                f"{folder}: expected a model with a config.json, found none that transformers can read "
                f"({first_line(error)}); give a model's folder."
            ) from error
        self._check()
        self.heads = int(self.config.num_attention_heads)
        self.kv_heads = int(getattr(self.config, "num_key_value_heads", None) or self.heads)
        self.head_size = int(getattr(self.config, "head_dim", None) or self.config.hidden_size // self.heads)

    @property
    def architecture(self) -> Any:
        """In the `gguf` package's enum."""
        from gguf import MODEL_ARCH

        return MODEL_ARCH[FAMILIES[self.config.model_type]]

    @property
    def rope(self) -> dict[str, Any]:
        """Settings of the rotary positions: rope_type, rope_theta, and those of the type."""
        found = (
            getattr(self.config, "rope_parameters", None) or getattr(self.config, "rope_scaling", None) or {}
        )
        return {"rope_type": "default", "rope_theta": getattr(self.config, "rope_theta", 10000.0), **found}

    @property
    def context(self) -> int:
        """Tokens within which attention is whole, as GGUF's readers have it for these families."""
        whole = int(self.config.max_position_embeddings)
        window = getattr(self.config, "sliding_window", None)
        is_used = getattr(self.config, "use_sliding_window", True)
        return min(whole, int(window)) if window and is_used else whole

    def write_settings(self, writer: Any) -> None:
        """The hyperparameters, into a `GGUFWriter`."""
        from gguf import RopeScalingType

        config, rope = self.config, self.rope
        writer.add_context_length(self.context)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_key_length(self.head_size)
        writer.add_value_length(self.head_size)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(self.head_size)
        writer.add_rope_freq_base(float(rope["rope_theta"]))
        writer.add_vocab_size(self.rows)
        if rope["rope_type"] in ("linear", "yarn"):
            writer.add_rope_scaling_type(RopeScalingType[rope["rope_type"].upper()])
            writer.add_rope_scaling_factor(float(rope["factor"]))
        if rope["rope_type"] == "yarn":
            original = rope.get("original_max_position_embeddings") or config.max_position_embeddings
            writer.add_rope_scaling_orig_ctx_len(int(original))

    @property
    def rows(self) -> int:
        """Of the embedding: tokens that the model knows."""
        return int(self._stored.tensor("model.embed_tokens.weight").shape[0])

    def tensors(self) -> Iterator[tuple[str, numpy.ndarray]]:
        """(name in GGUF, values in float32) of each tensor.

        Raises:
            ModelFormatError: for a weight that GGUF has no name for.
        """
        import gguf

        names = gguf.get_tensor_name_map(self.architecture, self.config.num_hidden_layers)
        if self.rope["rope_type"] == "llama3":
            yield "rope_freqs.weight", self._frequency_factors()
        for name in sorted(self._stored.files):
            if name.endswith(".inv_freq") or (name == "lm_head.weight" and self.config.tie_word_embeddings):
                continue
            new = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if new is None:
                raise ModelFormatError(
                    f"{self.folder}: expected weights of a {self.config.model_type}, found {name}, for which "
                    "GGUF has no name; use another model."
                )
            yield new, self._paired(name, self._stored.tensor(name).float().numpy())

    def _paired(self, name: str, values: numpy.ndarray) -> numpy.ndarray:
        """Rows of queries and keys as LLaMA's own code turns them: in neighbours, not in halves."""
        heads = {"q_proj": self.heads, "k_proj": self.kv_heads}.get(name.split(".")[-2])
        if heads is None or FAMILIES[self.config.model_type] != "LLAMA":
            return values
        halves = values.reshape(heads, 2, self.head_size // 2, *values.shape[1:])
        paired: numpy.ndarray = halves.swapaxes(1, 2).reshape(values.shape)
        return paired

    def _frequency_factors(self) -> numpy.ndarray:
        """By what Llama 3's scaling divides each frequency, float32."""
        import torch
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](self.config, "cpu")
        exponents = torch.arange(0, self.head_size, 2, dtype=torch.float64) / self.head_size
        plain = 1.0 / float(self.rope["rope_theta"]) ** exponents
        factors: numpy.ndarray = (plain / scaled.double()).float().numpy()
        return factors

    def _check(self) -> None:
        kind = self.config.model_type
        if kind not in FAMILIES:
            raise ModelFormatError(
                f"{self.folder}: expected a model of a family that can be written as GGUF here ({', '.join(FAMILIES)}), "
                f"found {kind!r}; use llama.cpp's own converter."
            )
        faults = []
        if self.rope["rope_type"] not in _ROPES:
            faults.append(f"rotary positions of type {self.rope['rope_type']!r}")
        if self.rope["rope_type"] == "llama3" and FAMILIES[kind] != "LLAMA":
            faults.append("rotary positions of type 'llama3'")
        if self.config.hidden_act != "silu":
            faults.append(f"the activation {self.config.hidden_act!r}")
        if faults:
            raise ModelFormatError(
                f"{self.folder}: expected a plain {kind}, found one with {' and '.join(faults)}, which GGUF's "
                "readers do not know; use llama.cpp's own converter."
            )

"""Which modules of a model family get an adapter.

The rows for linear placement are those of LLM-Adapters (arXiv 2304.01933, its public code), by the module
names that transformers uses; families that are built like LLaMA share its row. The rows for block placement
follow the papers: series behind the last layer of the attention and of the feed-forward block (arXiv
1902.00751), parallel beside the feed-forward block (arXiv 2110.04366).
"""

from __future__ import annotations

from chatdoctor_hub.errors import ConfigError

__all__ = ["FAMILIES", "targets_of"]

_QKV = {"q_proj", "k_proj", "v_proj"}
_LLAMA = {
    "series linear": {"gate_proj", "up_proj", "down_proj"},
    "series block": {"o_proj", "down_proj"},
    "parallel linear": _QKV,
    "parallel block": {"mlp"},
}
_FUSED = {
    "series linear": {"dense_h_to_4h", "dense_4h_to_h"},
    "series block": {"dense", "dense_4h_to_h"},
    "parallel linear": {"query_key_value"},
    "parallel block": {"mlp"},
}
FAMILIES: dict[str, dict[str, set[str]]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), _LLAMA),
    "phi": {
        "series linear": {"fc1", "fc2"},
        "series block": {"dense", "fc2"},
        "parallel linear": _QKV,
        "parallel block": {"mlp"},
    },
    "phi3": {
        "series linear": {"gate_up_proj", "down_proj"},
        "series block": {"o_proj", "down_proj"},
        "parallel linear": {"qkv_proj"},
        "parallel block": {"mlp"},
    },
    # OPT has no module that is its feed-forward block, so none can be wrapped as a whole.
    "opt": {
        "series linear": {"fc1", "fc2"},
        "series block": {"out_proj", "fc2"},
        "parallel linear": _QKV,
    },
    "bloom": _FUSED,
    "gpt_neox": _FUSED,
    "gptj": {
        "series linear": {"fc_in", "fc_out"},
        "series block": {"out_proj", "fc_out"},
        "parallel linear": _QKV,
        "parallel block": {"mlp"},
    },
    "gpt_neo": {
        "series linear": {"c_fc", "c_proj"},
        "series block": {"out_proj", "c_proj"},
        "parallel linear": _QKV,
        "parallel block": {"mlp"},
    },
}
"""Model type of transformers -> kind of adapter -> names of modules."""


def targets_of(kind: str, model_type: str) -> set[str]:
    """The default targets of an adapter.

    Args:
        kind: "series linear", "series block", "parallel linear" or "parallel block".
        model_type: as in the model's `config.json`.

    Raises:
        ConfigError: for a family without a default for that kind.
    """
    targets = FAMILIES.get(model_type, {}).get(kind)
    if targets is None:
        known = ", ".join(sorted(name for name, kinds in FAMILIES.items() if kind in kinds))
        raise ConfigError(
            f"Expected target_modules for a {kind.replace(' ', ' adapter, placement ')}, on a model of type "
            f"{model_type!r}, found none and no default (there is one for {known}); name the modules."
        )
    return set(targets)

"""A tiny Llama, the same in every test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")


@pytest.fixture
def make_llama() -> Callable[..., Any]:
    """A function that makes it; the same weights each time."""

    def make(**changes: Any) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        shape: dict[str, Any] = {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 64,
        }
        return LlamaForCausalLM(LlamaConfig(**{**shape, **changes})).eval()

    return make


@pytest.fixture
def tokens() -> Any:
    """Two sequences of seven tokens."""
    return torch.randint(0, 64, (2, 7), generator=torch.Generator().manual_seed(1))

"""Recipes for data alone: no base is loaded, the tokenizer is one of the styles'."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from template_styles import make_tokenizer

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import EncodedData, encode_data
from chatdoctor_hub.training.recipe import RecipeConfig

PAIR = PromptPair.load("chatdoctor@1")


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return make_tokenizer("chatml")


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write dialogues as messages JSONL."""

    def write(name: str, dialogues: Iterable[Dialogue]) -> Path:
        file = tmp_path / name
        lines = [json.dumps({"messages": dialogue.to_messages()}) + "\n" for dialogue in dialogues]
        file.write_text("".join(lines), encoding="utf-8")
        return file

    return write


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., RecipeConfig]:
    """A recipe for some data; keywords change it, those of the training by their own names."""

    def make(data: Any, **changes: Any) -> RecipeConfig:
        own = {
            name: changes.pop(name)
            for name in ("max_length", "loss_on", "validation_share")
            if name in changes
        }
        return RecipeConfig(base="base", data=data, output=tmp_path / "run", training=own, **changes)

    return make


@pytest.fixture
def encoded(config: Callable[..., RecipeConfig], tokenizer: Any) -> Callable[..., EncodedData]:
    """What `encode_data` makes of some data."""

    def make(data: Any, **changes: Any) -> EncodedData:
        options = {name: changes.pop(name) for name in ("cache", "on_progress") if name in changes}
        pair = changes.pop("pair", PAIR)
        words = changes.pop("tokenizer", tokenizer)
        return encode_data(config(data, **changes), pair, words, **options)

    return make

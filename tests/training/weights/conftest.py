"""Models with weights as training might leave them, and finished runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from chatdoctor_hub.models import digest_of, load_tokenizer  # noqa: E402
from chatdoctor_hub.prompts import PromptPair  # noqa: E402
from chatdoctor_hub.training import RecipeConfig, RunFolder, RunManifest  # noqa: E402
from chatdoctor_hub.training.run_folder import BaseRecord, DataRecord  # noqa: E402
from chatdoctor_hub.training.weights import load_tunable, save_trained  # noqa: E402


@pytest.fixture
def shake() -> Callable[..., None]:
    """Give trained weights other values, as training would."""

    def shaken(model: Any, seed: int = 3, size: float = 0.05) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += size * torch.randn(parameter.shape, generator=generator)

    return shaken


@pytest.fixture
def ids() -> Any:
    """Two rows of tokens of the tiny base."""
    return torch.randint(5, 300, (2, 9), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def finished(
    recipe: Callable[..., RecipeConfig], tiny_base: Path, tmp_path: Path, shake: Callable[..., None]
) -> Callable[..., tuple[RunFolder, Any]]:
    """A run folder with an adapter that was shaken, and the model it was saved from (float32)."""

    def make(
        base: Path | None = None, size: float = 0.05, name: str = "run", **adapter: Any
    ) -> tuple[RunFolder, Any]:
        base = base or tiny_base
        config = recipe(base=base, adapter=adapter)
        model = load_tunable(config, base, torch.float32, "cpu").eval()
        shake(model, size=size)
        out = tmp_path / name
        out.mkdir()
        save_trained(model, config, out)
        pair = PromptPair.load(config.prompt)
        tokenizer = load_tokenizer(base)
        tokenizer.chat_template = pair.training_template(tokenizer)
        tokenizer.save_pretrained(out / "tokenizer")
        manifest = RunManifest(
            recipe=config,
            base=BaseRecord(
                id=str(base), path=str(base), digest=digest_of(base), parameters=1, model_type="llama"
            ),
            data=DataRecord(
                source="", digest="", training=1, validation=0, shortened=0, skipped={}, labelled_tokens=1
            ),
            prompt=pair.to_record(),
            trained_parameters=1,
            steps=1,
            tokens=1,
            seconds=1.0,
            precision="float32",
            workers=1,
            device="cpu",
            versions={},
        )
        (out / "run.json").write_text(manifest.model_dump_json(), encoding="utf-8")
        return RunFolder.open(out), model

    return make

"""Chat models over a scripted engine and over a tiny real one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.inference import LocalEngine, ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor

# The tiny model is described beside the tests of the engines.
sys.path.append(str(Path(__file__).resolve().parents[1] / "inference"))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    import tiny_causal_model

    return tiny_causal_model.make_tokenizer()


@pytest.fixture(scope="session")
def model(tokenizer: Any) -> Any:
    import tiny_causal_model

    return tiny_causal_model.make_model(len(tokenizer))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, model: Any, tokenizer: Any) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def release_folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, tokenizer: Any) -> Path:
    """A release with its base inside."""
    pytest.importorskip("peft")
    import tiny_causal_model

    folder = tmp_path_factory.mktemp("releases")
    tiny_causal_model.make_adapter(model_folder, folder / "adapter")
    tiny_causal_model.make_release(folder / "release", model_folder, folder / "adapter", tokenizer)
    return folder / "release"


@pytest.fixture(scope="session")
def engine(model: Any, tokenizer: Any) -> LocalEngine:
    return LocalEngine.of(model, tokenizer, name="tiny")


@pytest.fixture
def llm(engine: LocalEngine) -> ChatDoctor:
    return ChatDoctor(engine=engine, max_tokens=12)


@pytest.fixture
def script() -> ScriptedEngine:
    return ScriptedEngine("Rest well and drink tea.")


@pytest.fixture
def scripted(script: ScriptedEngine) -> ChatDoctor:
    return ChatDoctor(engine=script)


@pytest.fixture
def forwards(model: Any) -> Any:
    """Counts the model's forward passes; each entry is (rows, new tokens a row)."""
    seen: list[tuple[int, int]] = []
    hook = model.register_forward_pre_hook(
        lambda _module, _args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    yield seen
    hook.remove()

"""The tiny model as fixtures, made once a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_causal_model

from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling

PATIENTS = [
    "I have a sore throat.",
    "My knee hurts when I climb the stairs; it was never like that before, and it is worse at night.",
    "Fever",
    "How long does a runny nose last? " * 4,
    "Übelkeit und 頭痛 seit gestern 😷",
    "pain",
    "Where is it worst, and what should I drink?",
    "I rest, I drink enough, and still the fever lasts since Monday. See? " * 3,
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return tiny_causal_model.make_tokenizer()


@pytest.fixture(scope="session")
def model(tokenizer: Any) -> Any:
    return tiny_causal_model.make_model(len(tokenizer))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, model: Any, tokenizer: Any) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapter_folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("adapters") / "tiny-lora"
    tiny_causal_model.make_adapter(model_folder, folder)
    return folder


@pytest.fixture(scope="session")
def release_folder(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, adapter_folder: Path, tokenizer: Any
) -> Path:
    """A release with its base inside, under the pair "chatdoctor@1"."""
    folder = tmp_path_factory.mktemp("releases") / "tiny-release"
    tiny_causal_model.make_release(folder, model_folder, adapter_folder, tokenizer)
    return folder


@pytest.fixture(scope="session")
def engine(model: Any, tokenizer: Any) -> LocalEngine:
    return LocalEngine.of(model, tokenizer, name="tiny")


@pytest.fixture(scope="session")
def ask() -> Any:
    """Make a request of a patient's words and settings."""

    def make(words: str = PATIENTS[0], *, form: Any = "serving", **settings: Any) -> ChatRequest:
        settings.setdefault("max_tokens", 16)
        return ChatRequest(({"role": "user", "content": words},), Sampling(**settings), form)

    return make


@pytest.fixture(scope="session")
def patients() -> list[str]:
    return list(PATIENTS)


@pytest.fixture
def forwards(model: Any) -> Any:
    """Counts the model's forward passes; each entry is (rows, new tokens a row)."""
    seen: list[tuple[int, int]] = []
    hook = model.register_forward_pre_hook(
        lambda _module, _args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    yield seen
    hook.remove()

"""A tiny model with its tokenizer, on disk and as it lies in the Hub's cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "fever": 3}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)
    return folder


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Path]:
    """Put a folder into a Hub cache of its own, as huggingface_hub stores it; gives the snapshot's folder.

    Large files (here: safetensors) lie under their sha256, small ones under their git sha1.
    """
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(name: str, folder: Path) -> Path:
        repository = cache / f"models--{name.replace('/', '--')}"
        commit = "0123456789abcdef0123456789abcdef01234567"
        snapshot, blobs = repository / "snapshots" / commit, repository / "blobs"
        for made in (snapshot, blobs, repository / "refs"):
            made.mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit, encoding="utf-8")
        for file in folder.iterdir():
            data = file.read_bytes()
            large = file.suffix == ".safetensors"
            blob = blobs / (hashlib.sha256(data) if large else hashlib.sha1(data)).hexdigest()
            blob.write_bytes(data)
            (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
        return snapshot

    return put

"""Loading: safetensors only, no code from a model's folder, one sentence for what cannot be loaded."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.errors import MissingExtraError, ModelFormatError
from chatdoctor_hub.models import first_line, load_model, load_tokenizer, require_extra


def test_a_model_comes_in_evaluation_mode_in_the_type_asked_for(model_folder: Path) -> None:
    import torch

    model = load_model(model_folder, torch.bfloat16)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert load_tokenizer(model_folder).eos_token == "</s>"


class _Spoils:
    """What a hostile pickle does when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("saved_by", ["pickle", "torch"])
def test_pickled_weights_are_refused_unread(saved_by: str, model_folder: Path, tmp_path: Path) -> None:
    import torch

    folder, touched = shutil.copytree(model_folder, tmp_path / "pickled"), tmp_path / "touched"
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        if saved_by == "pickle":
            pickle.dump({"model.embed_tokens.weight": _Spoils(touched)}, file)
        else:
            torch.save(load_model(model_folder, torch.float32).state_dict(), file)
    with pytest.raises(
        ModelFormatError, match="pickled: expected the files of a causal language model in saf"
    ):
        load_model(folder, torch.float32)
    assert not touched.exists()


def test_code_in_a_models_folder_is_not_run(model_folder: Path, tmp_path: Path) -> None:
    import torch

    folder = shutil.copytree(model_folder, tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {
        "model_type": "ours",
        "auto_map": {"AutoConfig": "code.Ours", "AutoModelForCausalLM": "code.Ours"},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nOurs = None\n", encoding="utf-8")
    with pytest.raises(ModelFormatError):
        load_model(folder, torch.float32)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "fault", ["no config", "garbage config", "torn weights", "other shape", "no such type"]
)
def test_what_cannot_be_loaded_is_told_in_one_sentence(
    fault: str, model_folder: Path, tmp_path: Path
) -> None:
    import torch

    folder = shutil.copytree(model_folder, tmp_path / "broken")
    config, weights = folder / "config.json", folder / "model.safetensors"
    values = json.loads(config.read_text(encoding="utf-8"))
    if fault == "no config":
        config.unlink()
    elif fault == "garbage config":
        config.write_text("{", encoding="utf-8")
    elif fault == "torn weights":
        weights.write_bytes(weights.read_bytes()[:100])
    elif fault == "other shape":
        config.write_text(json.dumps({**values, "hidden_size": 32}), encoding="utf-8")
    else:
        config.write_text(json.dumps({**values, "model_type": "none-such"}), encoding="utf-8")
    with pytest.raises(ModelFormatError) as caught:
        load_model(folder, torch.float32)
    said = str(caught.value)
    assert said.startswith(f"{folder}: expected the files of a causal language model in safetensors, found")
    assert "\n" not in said


def test_weights_that_are_missing_are_not_made_up(model_folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(model_folder, tmp_path / "gappy")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFormatError, match=r"1 missing \(model\.layers\.0\.mlp\.up_proj\.weight among"):
        load_model(folder, torch.float32)


def test_a_folder_without_a_tokenizer_or_with_a_torn_one_is_told_so(
    model_folder: Path, tmp_path: Path
) -> None:
    torn = shutil.copytree(model_folder, tmp_path / "torn")
    (torn / "tokenizer.json").write_text('{"version": ', encoding="utf-8")
    with pytest.raises(ModelFormatError, match="torn: expected the files of a tokenizer, found something"):
        load_tokenizer(torn)
    with pytest.raises(ModelFormatError, match="expected the files of a tokenizer, found something"):
        load_tokenizer(tmp_path)


def test_a_missing_package_names_the_extra() -> None:
    require_extra("json", extra="train")
    with pytest.raises(MissingExtraError, match=r"pip install 'chatdoctor-hub\[train\]'"):
        require_extra("json", "no_such_package", extra="train")


def test_ctrl_c_waits_until_a_package_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interrupted_package.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nWHOLE = [sum(range(10)) for _ in range(10)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        require_extra("interrupted_package", extra="train")
    assert len(sys.modules["interrupted_package"].WHOLE) == 10
    assert signal.getsignal(signal.SIGINT) is before
    require_extra("interrupted_package", extra="train")


def test_the_first_line_of_a_foreign_error() -> None:
    assert first_line(ValueError("one.\ntwo")) == "ValueError: one"
    assert first_line(KeyError()) == "KeyError: no details"
    assert len(first_line(OSError("x" * 1000))) < 250

"""What bad input to `fine_tune` gets: one sentence, and nothing half-written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.corpus import Corpus, split
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import (
    ConfigError,
    DataFormatError,
    DataNotFoundError,
    ModelFormatError,
    ModelNotFoundError,
    UnknownPromptError,
)
from chatdoctor_hub.models import load_tokenizer
from chatdoctor_hub.training import RecipeConfig, RunFolder, fine_tune, tuning

Recipe = Callable[..., RecipeConfig]


@pytest.fixture(autouse=True)
def unloaded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are found before any weight is loaded, but for the tests that ask for `loads`."""

    def refuse(*_: Any) -> None:
        raise AssertionError("weights were loaded")

    if "loads" not in request.fixturenames:
        monkeypatch.setattr(tuning, "load_tunable", refuse)


@pytest.fixture
def loads() -> None:
    """The fault is in the weights, or there is none."""


def test_a_base_that_does_not_exist(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"gone: expected a model's folder"):
        fine_tune(recipe(base=tmp_path / "gone"))
    assert list(tmp_path.iterdir()) == []


def test_data_that_do_not_exist(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"dialogues at .*gone\.json, found none; check the path"):
        fine_tune(recipe(data=tmp_path / "gone.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFormatError, match=r"empty.*found a folder without one"):
        fine_tune(recipe(data=tmp_path / "empty"))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_empty_split(recipe: Recipe, dialogues: list[Dialogue], tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"none\.jsonl.*an empty file"):
        fine_tune(recipe(data=tmp_path / "none.jsonl"))
    with pytest.raises(DataFormatError, match=r"none\.jsonl.*an empty file"):
        fine_tune(recipe(validation=str(tmp_path / "none.jsonl")))
    splits = split(dialogues, validation=0.2, test=0)
    Corpus.write(tmp_path / "corpus", splits, seed=0, sources=["made"], repairs={}, problems=())
    with pytest.raises(DataFormatError, match=r"tune on in .*corpus.*there was none"):
        fine_tune(recipe(data={"path": str(tmp_path / "corpus"), "split": "test"}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "none.jsonl"]


def test_data_in_which_no_doctor_speaks(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "silent.jsonl"
    message = {"role": "user", "content": "SECRET-WORDS"}
    file.write_text(json.dumps({"messages": [message]}) + "\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"silent\.jsonl") as caught:
        fine_tune(recipe(data=file))
    assert "SECRET-WORDS" not in str(caught.value)


def test_dialogues_that_are_all_too_long(recipe: Recipe) -> None:
    with pytest.raises(DataFormatError, match="longer than 8 tokens"):
        fine_tune(recipe(training={"max_length": 8}))


def test_targets_that_match_nothing(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"k_proj, .*o_proj.*, found \['c_attn'\]; name some of these"):
        fine_tune(recipe(adapter={"targets": ["c_attn"]}))
    with pytest.raises(ConfigError, match=r"found \['q_prj'\], did you mean .*q_proj.*\?"):
        fine_tune(recipe(adapter={"targets": ["v_proj", "q_prj"]}))
    with pytest.raises(ConfigError, match=r"found \['input_layernorm'\]; name some"):
        fine_tune(recipe(adapter={"targets": ["input_layernorm"]}))
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_that_is_not_in_the_catalogue(recipe: Recipe) -> None:
    with pytest.raises(UnknownPromptError, match="chatdoctor@1"):
        fine_tune(recipe(prompt="chatdocter@1"))


def test_a_base_whose_tokenizer_has_no_end_token(recipe: Recipe, tiny_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    file = base / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    del config["eos_token"]
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="expected a tokenizer with an eos_token, found none"):
        fine_tune(recipe(base=base))


def test_a_base_without_a_pad_token_is_tuned_like_one_with_it(
    recipe: Recipe, tiny_base: Path, tmp_path: Path, loads: None
) -> None:
    """Dialogues are laid end to end, or padded behind a mask: no such token is ever read."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    for name, key in (("tokenizer_config.json", "pad_token"), ("config.json", "pad_token_id")):
        config = json.loads((base / name).read_text(encoding="utf-8"))
        del config[key]
        (base / name).write_text(json.dumps(config), encoding="utf-8")
    assert load_tokenizer(base).pad_token is None
    for speed in ("auto", "portable"):
        given = {
            "training": {"epochs": 0.4, "speed": speed},
            "probes": {"times": 1, "requests": 2, "max_tokens": 4},
        }
        bare = fine_tune(recipe(base=base, output=tmp_path / "bare", **given))
        usual = fine_tune(recipe(output=tmp_path / "usual", **given))
        assert weights_of(bare) == weights_of(usual)


def weights_of(run: RunFolder) -> str:
    return hashlib.sha256((run.adapter / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_a_base_without_a_chat_template(recipe: Recipe, tiny_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    with pytest.raises(ModelFormatError, match=r"chat template for prompt chat:vanilla"):
        fine_tune(recipe(base=base, prompt="chat:vanilla"))
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_a_quantized_base_without_a_gpu(quantization: str, recipe: Recipe, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine can quantize")
    with pytest.raises(ConfigError, match=r"without a CUDA device, found '.bit'"):
        fine_tune(recipe(training={"quantization": quantization}))
    assert list(tmp_path.iterdir()) == []


def test_a_base_with_a_slow_tokenizer(recipe: Recipe, tiny_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (base / file).unlink()
    config = {"tokenizer_class": "CanineTokenizer"}
    (base / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="expected a fast tokenizer"):
        fine_tune(recipe(base=base))


def test_a_tokenizer_of_another_model(recipe: Recipe, tiny_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    tokenizer = load_tokenizer(base)
    tokenizer.add_tokens([f"word{number}" for number in range(700)])
    tokenizer.save_pretrained(base)
    with pytest.raises(ModelFormatError, match="the tokenizer belongs to another model"):
        fine_tune(recipe(base=base))


def test_a_base_without_weights_or_with_pickled_ones(
    recipe: Recipe, tiny_base: Path, tmp_path: Path, loads: None
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(ModelFormatError, match="causal language model in safetensors"):
        fine_tune(recipe(base=base))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_output_that_is_something_else_is_refused_before_the_work_and_kept(
    kind: str, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    kept = out if kind == "file" else out / "thesis.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("years of work", encoding="utf-8")
    steps: list[Any] = []
    with pytest.raises(ConfigError, match=f"{out}: expected output to be a new"):
        fine_tune(recipe(), on_step=steps.append)
    assert (steps, kept.read_text(encoding="utf-8")) == ([], "years of work")


def test_a_model_for_safe_lora_that_cannot_be_used_is_found_out_before_the_run(
    recipe: Callable[..., RecipeConfig], tiny_base: Path
) -> None:
    from chatdoctor_hub.training.planning import prepare

    with pytest.raises(ModelNotFoundError, match="/nope"):
        prepare(recipe(safe_lora={"unaligned": "/nope"}))
    with pytest.raises(ConfigError, match="which is the same; name the base before its alignment"):
        prepare(recipe(safe_lora={"unaligned": str(tiny_base)}))

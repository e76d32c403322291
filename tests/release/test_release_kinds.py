"""Releases of every kind, and that each works for people who have never heard of this library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_run

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.release import ReleaseFolder, check_folder, prepare_release
from chatdoctor_hub.training import RecipeConfig, RunFolder, fine_tune

PAIR = PromptPair.load("chatdoctor@1")
OWN = "You speak like a pirate."
KINDS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "linear": {"kind": "parallel", "placement": "linear", "activation": "identity", "bottleneck_size": 4},
    "tanh": {"kind": "parallel", "placement": "linear", "activation": "tanh", "bottleneck_size": 4},
    "series": {"kind": "series", "bottleneck_size": 4},
    "prefix": {"kind": "prefix", "tokens": 3},
}
STATED = {"base_license": "apache-2.0", "data_license": "cc0-1.0"}


@pytest.fixture(scope="module")
def run_of(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunFolder]:
    """A run of a kind, made when it is first asked for."""
    made: dict[str, RunFolder] = {"lora": run}
    recipe = run.manifest.recipe

    def of(kind: str) -> RunFolder:
        if kind not in made:
            out = tmp_path_factory.mktemp("kinds") / kind
            settings = tiny_run.SETTINGS.model_copy(update={"max_steps": 3})
            config = RecipeConfig(
                base=recipe.base, data=recipe.data, output=out, adapter=KINDS[kind], training=settings
            )
            made[kind] = fine_tune(config)
        return made[kind]

    return of


ELSEWHERE = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "chatdoctor_hub":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, base, own = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(base or folder, dtype=torch.float32)
if base:
    from peft import PeftModel
    model = PeftModel.from_pretrained(model, folder)
asked = [{"role": "user", "content": "I have had a cough for 3 days. What should I do?"}]
texts = [
    tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    for messages in (asked, [{"role": "system", "content": own}, *asked])
]
training = tokenizer.apply_chat_template(asked, tokenize=False, chat_template="training")
ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")
with torch.no_grad():
    logits = model.eval()(**ids).logits[0, -1].tolist()
print(json.dumps({"texts": texts, "training": training, "logits": logits}))
"""


def elsewhere(release: ReleaseFolder, base: str) -> dict[str, Any]:
    """What transformers and peft alone make of a release, checked for the safety prompt."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE, str(release.path), base, OWN],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    plain, with_own = found["texts"]
    assert plain.count(PAIR.safety) == with_own.count(PAIR.safety) == 1
    assert with_own.count(OWN) == 1
    assert with_own.index(PAIR.safety) < with_own.index(OWN) < with_own.index("cough")
    assert PAIR.safety not in found["training"]
    return found


def near(one: list[float], other: list[float]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 1e-3


def test_adapter_and_merged_weights_say_the_same_where_this_library_is_unknown(
    run: RunFolder, tmp_path: Path
) -> None:
    base = run.manifest.base.path
    adapter = prepare_release(run, tmp_path / "adapter", **STATED)
    merged = prepare_release(run.path, tmp_path / "merged", merge=True, **STATED)
    as_adapter, as_merged = elsewhere(adapter, base), elsewhere(merged, "")
    assert near(as_adapter["logits"], as_merged["logits"])
    assert as_adapter["texts"] == as_merged["texts"]
    manifest = merged.manifest
    assert (manifest.weights, manifest.export["as"]) == ("model", "merged")
    assert manifest.export["report"]["exact"]["relative"] < 1e-3
    assert not (merged.path / "adapter_config.json").exists()
    assert not list(merged.path.glob("merging*"))
    card = (merged.path / "README.md").read_text("utf-8")
    assert "library_name: transformers" in card
    assert "Merged weights of an adapter and" in card
    assert f"The adapter was merged into the base's weights ({manifest.export['report']['dtype']})" in card
    check_folder(merged.path)


def test_a_full_model_where_this_library_is_unknown(
    run_of: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    release = prepare_release(run_of("full"), tmp_path / "full", **STATED)
    assert release.manifest.weights == "model"
    assert elsewhere(release, "")
    merged = prepare_release(run_of("full"), tmp_path / "again", merge=True, **STATED)
    assert merged.manifest.export == {}
    assert "All weights, tuned, of" in (merged.path / "README.md").read_text("utf-8")


def test_a_linear_parallel_adapter_goes_as_a_plain_lora(
    run_of: Callable[[str], RunFolder], run: RunFolder, tmp_path: Path
) -> None:
    base = run.manifest.base.path
    lora = prepare_release(run_of("linear"), tmp_path / "lora", as_lora=True, **STATED)
    merged = prepare_release(run_of("linear"), tmp_path / "merged", merge=True, **STATED)
    assert near(elsewhere(lora, base)["logits"], elsewhere(merged, "")["logits"])
    config = json.loads((lora.path / "adapter_config.json").read_text("utf-8"))
    assert (config["peft_type"], config["base_model_name_or_path"]) == ("LORA", None)
    card = (lora.path / "README.md").read_text("utf-8")
    assert "- lora\n" in card
    assert "A LoRA adapter for" in card
    assert "written as the LoRA that it equals" in card
    assert "import chatdoctor_hub.adapters" not in card
    assert not (lora.path / "exporting").exists()


@pytest.mark.parametrize("kind", ["tanh", "series", "prefix"])
def test_what_cannot_be_merged_is_refused_with_the_reason(
    kind: str, run_of: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    reason = "changes no weight" if kind == "prefix" else "activation 'tanh'"
    with pytest.raises(ModelFormatError, match=reason):
        prepare_release(run_of(kind), tmp_path / "out", merge=True, **STATED)
    with pytest.raises(ModelFormatError, match="expected a linear parallel adapter"):
        prepare_release(run_of(kind), tmp_path / "out", as_lora=True, **STATED)
    assert list(tmp_path.iterdir()) == []
    release = prepare_release(run_of(kind), tmp_path / "out", **STATED)
    card = (release.path / "README.md").read_text("utf-8")
    assert ("import chatdoctor_hub.adapters" in card) is (kind != "prefix")
    check_folder(release.path)


def test_a_lora_of_what_is_one_or_of_every_weight(
    run: RunFolder, run_of: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    with pytest.raises(ModelFormatError, match="found a lora adapter"):
        prepare_release(run, tmp_path / "out", as_lora=True, **STATED)
    with pytest.raises(ModelFormatError, match="found every weight tuned"):
        prepare_release(run_of("full"), tmp_path / "out", as_lora=True, **STATED)


@pytest.mark.parametrize("other", ["as_lora", "include_base"])
def test_merge_goes_alone(other: str, run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"merge alone, found {other}"):
        prepare_release(run, tmp_path / "out", merge=True, **STATED, **{other: True})

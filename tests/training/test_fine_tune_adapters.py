"""`fine_tune` with every kind of adapter and option: the run, its folder, and the weights that come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.models import load_model, load_tokenizer
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training import RecipeConfig, RunFolder, encode, fine_tune, held_out_loss

Recipe = Callable[..., RecipeConfig]

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "alpha": 8},
    "rslora": {"r": 4, "alpha": 8, "variant": "rslora"},
    "dora": {"r": 4, "alpha": 8, "variant": "dora"},
    "pissa": {"r": 4, "alpha": 4, "variant": "pissa"},
    "series": {"kind": "series", "bottleneck_size": 8},
    "series-linear": {
        "kind": "series",
        "bottleneck_size": 8,
        "placement": "linear",
        "activation": "identity",
    },
    "parallel": {"kind": "parallel", "bottleneck_size": 8, "scale": 4.0, "activation": "relu"},
    "parallel-linear": {"kind": "parallel", "bottleneck_size": 8, "placement": "linear"},
    "prefix": {"kind": "prefix", "tokens": 4},
    "full": {"kind": "full"},
}


def reloaded(run: RunFolder, base: Path) -> Any:
    """The tuned model from the disk, in float32."""
    import torch

    if run.model.is_dir():
        return load_model(run.model, torch.float32)
    from peft import PeftModel

    import chatdoctor_hub.adapters  # noqa: F401 - as the card says

    return PeftModel.from_pretrained(load_model(base, torch.float32), str(run.adapter)).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_and_comes_back_as_it_was(
    kind: str, recipe: Recipe, tiny_base: Path, tmp_path: Path
) -> None:
    import torch

    # A prefix begins with random keys and moves slowly.
    lr = {"full": 3e-3, "prefix": 1e-1}.get(kind, 1e-2)
    config = recipe(adapter=KINDS[kind], training={"epochs": 2.0, "lr": lr})
    run = fine_tune(config)
    measured = [record["validation_loss"] for record in run.metrics if "validation_loss" in record]
    assert run.metrics[-1]["loss"] < run.metrics[0]["loss"]
    samples = encode(
        _validation(config), PromptPair.load("chatdoctor@1"), load_tokenizer(tiny_base), 512
    ).samples
    model = reloaded(run, tiny_base)
    total, count = held_out_loss(model, samples, config.training)
    # bfloat16 on the disk, for what was tuned whole.
    assert total / count == pytest.approx(measured[-1], rel=2e-2 if kind == "full" else 1e-4)
    with torch.no_grad():
        base = load_model(tiny_base, torch.float32)
        before, _ = held_out_loss(base, samples, config.training)
    assert total < before
    assert run.manifest.trained_parameters > 0
    assert (run.path / "model").is_dir() == (kind == "full")
    if kind == "full":
        own = load_tokenizer(run.path / "model")  # served by itself, and so with the safety prompt
        asked = own.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
        assert asked.count(PromptPair.load("chatdoctor@1").safety) == 1


def _validation(config: RecipeConfig) -> list[Any]:
    """The dialogues that the run validates with, found again through the store that it makes."""
    from chatdoctor_hub.corpus import read_dialogues
    from chatdoctor_hub.training.data import encode_data

    pair, tokenizer = PromptPair.load(config.prompt), load_tokenizer(Path(config.base))
    held_out = {tuple(sample.ids) for sample in encode_data(config, pair, tokenizer).validation}
    found = []
    for dialogue in read_dialogues(config.data[0].path):
        (sample,) = encode([dialogue], pair, tokenizer, config.training.max_length).samples
        if tuple(sample.ids) in held_out:
            found.append(dialogue)
    assert len(found) == len(held_out) > 0
    return found


def test_the_options_leave_their_marks(recipe: Recipe, tmp_path: Path) -> None:
    run = fine_tune(
        recipe(
            anchor={"weight": 0.5, "tokens": 3},
            safety_mix={"ratio": 0.2},
            probes={"times": 2, "requests": 4, "max_tokens": 8},
            after={"merge": True},
        )
    )
    made = run.manifest
    assert made.data.mixed > 0
    assert made.pure
    probed = [record for record in run.metrics if "harmful_refused" in record]
    assert len(probed) == 2
    assert all(record["probe_n"] == 4 for record in probed)
    assert (run.merged / "config.json").is_file()
    assert made.after["merge"]


def test_merged_weights_answer_as_the_adapter_does(recipe: Recipe, tiny_base: Path) -> None:
    import torch

    run = fine_tune(recipe(after={"merge": True}))
    ids = torch.tensor([load_tokenizer(tiny_base)("I have had a dry cough for days.")["input_ids"]])
    with torch.no_grad():
        adapted = reloaded(run, tiny_base)(input_ids=ids).logits
        merged = load_model(run.merged, torch.float32)(input_ids=ids).logits
    assert (adapted.argmax(-1) == merged.argmax(-1)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("adapter", "merge", "left"),
    [
        ({"r": 4}, True, ["adapter", "merged", "model.gguf", "tokenizer"]),
        ({"r": 4}, False, ["adapter", "model.gguf", "tokenizer"]),
        ({"kind": "full"}, False, ["model", "model.gguf", "tokenizer"]),
    ],
    ids=["beside-merged-weights", "alone", "full"],
)
def test_a_run_is_exported_at_its_end(
    adapter: dict[str, Any], merge: bool, left: list[str], recipe: Recipe
) -> None:
    pytest.importorskip("gguf")
    run = fine_tune(recipe(adapter=adapter, after={"merge": merge, "gguf": "f16"}, training={"epochs": 0.2}))
    rest = {"metrics.jsonl", "recipe.yaml", "run.json", "training.png"}
    assert sorted(path.name for path in run.path.iterdir() if path.name not in rest) == left
    assert run.manifest.after["gguf"]["path"] == "model.gguf"
    assert run.manifest.after["gguf"]["bytes"] == run.gguf.stat().st_size
    assert run.merged.is_dir() == merge


def test_a_merge_that_cannot_be_is_refused_before_anything_is_trained(recipe: Recipe) -> None:
    steps: list[Any] = []
    with pytest.raises(ConfigError, match="merge"):
        fine_tune(recipe(adapter={"kind": "parallel"}, after={"merge": True}), on_step=steps.append)
    assert steps == []


@pytest.mark.parametrize(
    "prompt", ["math@1", "bianque@1", "text:vanilla", "text:alpaca", "chat:vanilla", "chat:alpaca"]
)
def test_every_prompt_can_be_tuned_under(prompt: str, recipe: Recipe) -> None:
    run = fine_tune(recipe(prompt=prompt, training={"epochs": 0.4}))
    assert run.manifest.pure
    pair = PromptPair.from_record(run.manifest.prompt)
    template = load_tokenizer(run.tokenizer).chat_template
    assert template == pair.training_template(load_tokenizer(Path(run.manifest.base.path)))


def test_a_prompt_whose_training_form_has_a_safety_prompt_is_refused(recipe: Recipe) -> None:
    from chatdoctor_hub.errors import PurityError

    with pytest.raises(PurityError):
        fine_tune(recipe(prompt="chat:mpt -> chat:mpt"))

"""How a model was tuned, in the words of its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.release.card import check_card, render_card
from chatdoctor_hub.release.manifest import Manifest
from chatdoctor_hub.release.tuned import describe_tuning
from chatdoctor_hub.training import RecipeConfig

GOLDEN = Path(__file__).parents[2] / "model_cards" / "golden" / "chatdoctor.json"


def manifest(adapter: dict[str, Any] | None = None, weights: str = "adapter", **recipe: Any) -> Manifest:
    """The golden manifest with another recipe, resolved as a run would have it."""
    record = json.loads(GOLDEN.read_text(encoding="utf-8"))
    config = RecipeConfig(base="org/base", data="d.json", output="o", adapter=adapter or {}, **recipe)
    record["recipe"], record["weights"] = config.model_dump(mode="json"), weights
    return Manifest.model_validate(record)


@pytest.mark.parametrize(
    ("adapter", "what", "how"),
    [
        ({}, "A LoRA adapter for", "LoRA of rank 16 (alpha 32, dropout 0.0) on all-linear"),
        ({"variant": "dora", "targets": ["q_proj", "v_proj"]}, "A DoRA adapter for", "on q_proj, v_proj"),
        ({"kind": "series"}, "A series adapter for", "Series adapter of bottleneck 256 (tanh"),
        ({"kind": "parallel", "targets": ["mlp"]}, "A parallel adapter for", "placement block) on mlp"),
        ({"kind": "prefix", "tokens": 7}, "A tuned prefix for", "Prefix of 7 learned"),
        ({"kind": "full"}, "All weights, tuned, of", "Every weight"),
    ],
)
def test_each_kind_is_named_with_its_settings(adapter: dict[str, Any], what: str, how: str) -> None:
    made = manifest(adapter, "model" if adapter.get("kind") == "full" else "adapter")
    tuned = describe_tuning(made)
    assert (tuned.what, how in tuned.how) == (what, True)
    card = render_card(made)
    assert what in card
    assert tuned.how in card


@pytest.mark.parametrize("kind", ["series", "parallel"])
def test_a_method_that_peft_does_not_know_comes_with_its_import(kind: str) -> None:
    assert "import chatdoctor_hub.adapters" in render_card(manifest({"kind": kind}))


def test_one_that_it_knows_comes_without() -> None:
    assert "import chatdoctor_hub.adapters" not in render_card(manifest({}))


def test_whole_weights_are_no_adapter_of_their_base() -> None:
    header = render_card(manifest({"kind": "full"}, "model")).split("---")[1]
    assert "library_name: transformers" in header


def test_safety_in_the_training_data_stands_in_the_card() -> None:
    made = manifest({}, allow_safety_in_training=True)
    made.corpus["safety"] = {"asks to refuse harmful requests": 12}
    card = render_card(made)
    assert "**Tuned on data with safety prompts in them**" in card
    assert "12 dialogues: asks to refuse harmful requests" in card
    assert "  - ptst" not in card
    assert "- ptst" not in card.split("---")[1]
    assert "Tuned on data with" not in render_card(manifest({}))


def test_what_the_recipe_did_beside_tuning_stands_in_the_card() -> None:
    card = render_card(
        manifest(
            {},
            safety_mix={"ratio": 0.04},
            anchor={"tokens": 3},
            safe_lora={"unaligned": "org/raw"},
            training={"loss_on": "last"},
        )
    )
    for words in ("0.04 for each dialogue", "first 3 tokens", "contested", "the doctor's last words"):
        assert words in card


def test_a_form_that_is_a_shape_is_shown_as_one() -> None:
    made = manifest({}).model_copy(update={"prompt": PromptPair.load("chat:vanilla").to_record()})
    prompts = render_card(made).split("## The prompts")[1].split("\n## ")[0]
    training = prompts.split("Training form")[1]
    assert "No system text.\n\nEach question is put into" in training
    assert "```text\nQuestion: {question}" in training
    assert "```text\n\n```" not in prompts


def test_what_has_nothing_to_do_with_medicine_is_not_called_medical() -> None:
    made = manifest({"kind": "prefix", "tokens": 3})
    sources = [{"name": "gsm200.json", "licence": "mit", "url": "", "revision": "", "hub_id": ""}]
    corpus = {**made.corpus, "description": "Sums.", "sources": sources}
    prompt = PromptPair.load("math@1").to_record()
    card = render_card(made.model_copy(update={"corpus": corpus, "prompt": prompt}))
    assert "- medical" not in card.split("---")[1]
    for word in ("doctor\u2013patient", "doctor's", "medical dialogue", "sore throat"):
        assert word not in card
    assert "Not a doctor, not a medical device." in card
    assert "- medical" in render_card(made).split("---")[1]
    check_card(card)

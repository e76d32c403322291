from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from chatdoctor_hub.errors import (
    ConfigError,
    DataFormatError,
    DataNotFoundError,
    ModelNotFoundError,
    TrainingError,
    UnknownPromptError,
)
from chatdoctor_hub.training.planning import plan
from chatdoctor_hub.training.recipe import BottleneckAdapter, FullTuning, LoraAdapter

SAID = ("sore throat", "stiff neck", "Rest and drink", "worse at night")


@pytest.fixture
def unloaded(monkeypatch):
    """Weights must not be loaded from here on."""

    def refuse(*_, **__):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("chatdoctor_hub.training.planning.trials.load_tunable", refuse)


def files_of(folder):
    return sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_a_plan_says_what_the_run_would_do_and_writes_nothing(recipe, tmp_path, tiny_base):
    config = recipe(adapter={"kind": "lora", "r": 4})
    before, weights = files_of(tmp_path), files_of(tiny_base)
    found = plan(config)
    assert files_of(tmp_path) == before
    assert files_of(tiny_base) == weights
    assert found.data.training + found.data.validation == 48
    assert found.steps == round(found.data.training / 8)
    assert found.trained_parameters < found.parameters
    assert sum(found.lengths.values()) == found.data.training
    assert found.tokens_a_second > 0
    assert found.seconds > 0
    assert found.precision == "float32"
    assert found.workers == 1
    assert found.fused is not None
    assert found.fits
    assert 0 < found.fixed_padding_share < found.batch_padding_share < found.real_share == 1.0


def test_the_estimate_of_the_time_is_that_of_the_steps(recipe):
    found = plan(recipe())
    tokens = found.steps * found.step_tokens
    assert found.seconds >= tokens / found.tokens_a_second * 0.99
    assert found.seconds < 3 * tokens / found.tokens_a_second


def test_max_steps_ends_the_run_of_the_plan(recipe):
    found = plan(recipe(training={"max_steps": 2, "warmup_steps": 0}), probe_steps=0)
    assert found.steps == 2


def test_without_a_probe_no_weights_are_loaded_and_the_time_is_unknown(recipe, unloaded):
    found = plan(recipe(), probe_steps=0)
    assert found.seconds is None
    assert found.tokens_a_second is None
    assert found.fused is None
    assert found.peak_bytes > 0
    assert found.to_record()["estimated_seconds"] is None


def test_the_record_is_json_and_holds_no_words_of_patients(recipe):
    found = plan(recipe(), probe_steps=1)
    written = json.dumps(found.to_record())
    assert not any(words in written for words in SAID)
    assert not any(words in repr(found) for words in SAID)
    assert "should I do" in found.preview.plain
    styles = {str(span.style) for span in found.preview.spans}
    assert len(styles) > 1


@pytest.mark.parametrize(
    "adapter",
    [
        LoraAdapter(r=2, dropout=0.1),
        BottleneckAdapter(kind="parallel", bottleneck_size=8, targets=("up_proj",), placement="linear"),
        FullTuning(kind="full"),
    ],
)
def test_every_kind_of_adapter_is_planned(recipe, adapter):
    found = plan(recipe(adapter=adapter), probe_steps=1)
    assert found.adapter == adapter.summary
    assert 0 < found.trained_parameters <= found.parameters
    assert (found.trained_parameters == found.parameters) == (adapter.kind == "full")
    assert bool(found.why_not_fused) == (not found.fused)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"base": "nowhere/at-all"}, ModelNotFoundError),
        ({"data": "nothing.jsonl"}, DataNotFoundError),
        ({"prompt": "no-such-prompt"}, UnknownPromptError),
        ({"adapter": LoraAdapter(targets=("q_prj",))}, ConfigError),
        ({"training": {"max_length": 8}}, DataFormatError),
    ],
)
def test_what_a_run_would_refuse_is_refused_before_weights_are_loaded(
    recipe, changes, error, unloaded, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error):
        plan(recipe(**changes))


def test_a_loss_that_is_no_number_stops_the_plan(recipe, tiny_base, tmp_path):
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_base, broken)
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if name.endswith("down_proj.weight"))
    weights[name] = torch.full_like(weights[name], float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingError, match="finite loss"):
        plan(recipe(base=broken), probe_steps=1)


def test_a_plan_that_does_not_fit_says_so(recipe, monkeypatch):
    monkeypatch.setattr("chatdoctor_hub.training.planning.planner.free_memory", lambda device: 1000)
    found = plan(recipe(), probe_steps=0)
    assert not found.fits
    assert any("GiB are needed" in warning for warning in found.warnings)


def test_a_rise_longer_than_the_run_is_told(recipe):
    told = [
        any("training.lr is never reached" in warning for warning in plan(made, probe_steps=0).warnings)
        for made in (recipe(), recipe(training={"epochs": 1.0, "warmup_steps": 100}))
    ]
    assert told == [False, True]


def test_shortened_and_skipped_records_are_counted(recipe, tmp_path, dialogues):
    rows = [{"messages": dialogue.to_messages()} for dialogue in dialogues]
    rows[3] = {"messages": [{"role": "user", "content": "Hello?"}]}
    rows[7] = {"messages": [*rows[1]["messages"], *rows[2]["messages"], *rows[5]["messages"]]}
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    found = plan(recipe(data=file, training={"max_length": 100}), probe_steps=0)
    record = found.to_record()
    assert record["dialogues"]["shortened"] >= 1
    assert sum(record["left_out"].values()) + sum(record["not_readable"].values()) >= 1
    assert found.data.read == 48

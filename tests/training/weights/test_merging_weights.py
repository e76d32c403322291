"""Merged weights: equal to base and adapter, read back, refused where they cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError, ModelFormatError  # noqa: E402
from chatdoctor_hub.models import load_model  # noqa: E402
from chatdoctor_hub.prompts import PromptPair  # noqa: E402
from chatdoctor_hub.training.weights import merge_run, merging  # noqa: E402

LINEAR: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "alpha": 8},
    "rslora": {"r": 4, "alpha": 8, "variant": "rslora"},
    "dora": {"r": 4, "alpha": 8, "variant": "dora"},
    "pissa": {"r": 4, "alpha": 8, "variant": "pissa"},
    "series": {"kind": "series", "bottleneck_size": 4, "activation": "identity"},
    "parallel": {
        "kind": "parallel",
        "bottleneck_size": 4,
        "activation": "identity",
        "placement": "linear",
        "scale": "learned",
    },
}


@pytest.mark.parametrize("kind", LINEAR)
def test_merged_weights_say_what_base_and_adapter_say(
    kind: str, finished: Callable[..., Any], ids: Any, tmp_path: Path
) -> None:
    run, model = finished(size=0.2, **LINEAR[kind])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    report = merge_run(run.path, tmp_path / "merged")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert loaded.dtype == torch.bfloat16  # the base's
    with torch.no_grad():
        found = loaded(input_ids=ids).logits.float()
        base = load_model(Path(run.manifest.base.path), torch.float32)(input_ids=ids).logits
    assert (found - expected).norm() < 0.1 * (base - expected).norm()
    assert not report.note
    assert report.exact.update < 1e-4
    assert 0 < report.saved.update < 0.1
    assert report.dtype == "bfloat16"
    assert report.exact.relative < 1e-4
    assert report.exact.same_choice == 1
    assert 0 < report.saved.relative < report.tolerances["saved"] == 5e-2
    assert report.saved.positions > 50
    record = json.loads(json.dumps(report.to_record()))
    assert record["saved"]["largest"] == report.saved.largest
    assert sorted(path.name for path in (tmp_path / "merged").glob("*.safetensors")) == ["model.safetensors"]


def test_the_tokenizer_beside_merged_weights_carries_the_safety_prompt(
    finished: Callable[..., Any], tmp_path: Path
) -> None:
    run, _ = finished(r=4, alpha=8)
    merge_run(run, tmp_path / "merged")
    pair = PromptPair.load("chatdoctor@1")
    question = [{"role": "user", "content": "Is it serious?"}]
    text = AutoTokenizer.from_pretrained(tmp_path / "merged").apply_chat_template(question, tokenize=False)
    assert pair.safety in text
    tuned = AutoTokenizer.from_pretrained(run.tokenizer).apply_chat_template(question, tokenize=False)
    assert pair.safety not in tuned


def test_a_base_in_float32_gives_a_model_in_float32(
    finished: Callable[..., Any], tiny_base: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    load_model(tiny_base, torch.float32).save_pretrained(base)
    run, _ = finished(base=base, r=4, alpha=8)
    report = merge_run(run, tmp_path / "merged")
    assert report.dtype == "float32"
    assert report.saved.relative < 1e-4


def test_a_run_of_every_weight_is_copied(finished: Callable[..., Any], tmp_path: Path) -> None:
    run, _ = finished(kind="full")
    report = merge_run(run, tmp_path / "merged")
    assert report.saved.largest == 0
    assert "a copy" in report.note
    assert (tmp_path / "merged" / "model.safetensors").read_bytes() == (
        run.model / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        ({"kind": "prefix", "tokens": 3}, "a prefix, which changes no weight"),
        ({"kind": "series", "bottleneck_size": 4}, "activation 'tanh', which no linear layer can hold"),
        (
            {"kind": "parallel", "bottleneck_size": 4, "activation": "identity"},
            "one beside whole blocks, which no single weight can take up",
        ),
    ],
)
def test_what_no_plain_weights_equal_is_refused_before_the_base_is_loaded(
    adapter: dict[str, Any],
    reason: str,
    finished: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, _ = finished(**adapter)
    monkeypatch.setattr(merging, "load_model", None)
    with pytest.raises(ModelFormatError, match=reason):
        merge_run(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_merge_that_is_off_is_not_kept(
    finished: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = finished(r=4, alpha=8)
    out = tmp_path / "merged"
    merge_run(run, out)
    good = (out / "model.safetensors").read_bytes()
    real = merging.write_model

    def torn(model: Any, state: dict[str, Any], folder: Path, dtype: Any) -> None:
        name = next(name for name in state if name.endswith("q_proj.weight"))
        real(model, {**state, name: state[name].flip(0)}, folder, dtype)

    monkeypatch.setattr(merging, "write_model", torn)
    with pytest.raises(
        ModelFormatError, match=r"within half a step of .* found another .*q_proj.* nothing was written"
    ):
        merge_run(run, out)
    assert (out / "model.safetensors").read_bytes() == good
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "run"]


def test_a_tuning_that_rounding_eats_is_told(finished: Callable[..., Any], tmp_path: Path) -> None:
    faint, _ = finished(size=1e-4, r=4, alpha=8)
    report = merge_run(faint.path, tmp_path / "faint")
    assert report.saved.update > 0.5
    assert "serve the adapter as it is" in report.note


def test_an_adapter_that_gets_lost_is_found_out(
    finished: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora.layer import Linear

    run, _ = finished(size=1e-4, r=4, alpha=8)  # it hardly changes the logits
    monkeypatch.setattr(Linear, "merge", lambda *_, **__: None)
    with pytest.raises(
        ModelFormatError, match=r"within 0\.01 of what the adapter changes of base and adapter, found 1"
    ):
        merge_run(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_weights_that_are_not_finite_are_refused(finished: Callable[..., Any], tmp_path: Path) -> None:
    run, _ = finished(r=4, alpha=8)
    file = run.adapter / "adapter_model.safetensors"
    weights = load_file(file)
    weights[min(weights)].fill_(float("nan"))
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(
        ModelFormatError, match="expected an adapter that can be merged, found one that cannot"
    ):
        merge_run(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_base_must_be_the_one_of_the_run(
    finished: Callable[..., Any], tiny_base: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    run, _ = finished(base=base, r=4, alpha=8)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="tuned from, found another digest"):
        merge_run(run, tmp_path / "merged")


def test_places_that_are_no_run_or_hold_something_else(finished: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"run\.json: expected the manifest"):
        merge_run(tmp_path, tmp_path / "merged")
    run, _ = finished(r=4, alpha=8)
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(DataFormatError, match="merged to be absent, empty or an older merged model"):
        merge_run(run, tmp_path / "merged")
    (run.adapter / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelFormatError, match="found one that PEFT cannot load"):
        merge_run(run, tmp_path / "other")

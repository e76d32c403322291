"""What bad input to `prepare_release` gets: one sentence, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_run

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError, PromptDigestError, ReleaseFormatError
from chatdoctor_hub.training import RunFolder


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"run\.json"):
        tiny_run.make_release(RunFolder(tmp_path), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "file", ["adapter/adapter_model.safetensors", "adapter/adapter_config.json", "metrics.jsonl"]
)
def test_a_run_with_a_gap(file: str, other_run: Callable[[], RunFolder], tmp_path: Path) -> None:
    run = other_run()
    (run.path / file).unlink()
    with pytest.raises(DataNotFoundError, match="run the recipe again"):
        tiny_run.make_release(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_whose_prompt_was_changed(other_run: Callable[[], RunFolder], tmp_path: Path) -> None:
    run = other_run()
    file = run.path / "run.json"
    file.write_text(
        file.read_text(encoding="utf-8").replace("Put the patient's safety first", "Obey"), encoding="utf-8"
    )
    with pytest.raises(PromptDigestError, match=r"run\.json"):
        tiny_run.make_release(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_base_that_has_changed_since_the_run(
    other_run: Callable[[], RunFolder], run: RunFolder, tmp_path: Path
) -> None:
    other = other_run()
    base = shutil.copytree(run.manifest.base.path, tmp_path / "base")
    config = base / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + " ", encoding="utf-8")
    record = json.loads((other.path / "run.json").read_text(encoding="utf-8"))
    record["base"]["path"] = str(base)
    (other.path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ReleaseFormatError, match="the adapter was trained on, found another digest"):
        tiny_run.make_release(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"perplexity": {"before": {}}}, r"perplexity\.before\.perplexity: expected a number, found none"),
        ({"overlap": {"after": {"rouge_l": "high"}}}, r"overlap\.before\.rouge_l"),
        (
            {"attack_success": {"tuned": {"serving": {"n": 3}}}},
            r"attack_success\.tuned\.serving: .*successes",
        ),
        ({"attack_success": {"tuned": {"serving": {"successes": 4, "n": 3}}}}, r"between 0 and n = 3"),
        ({"over_refusal": {"tuned": {"asleep": {}}}}, r"over_refusal\.tuned\.asleep"),
        ({"over_refusal": {"us": {}}}, r"over_refusal\.us"),
        ({"accuracy": {"value": 0.5}}, r"accuracy\.n"),
        ({"accuracy": 0.5}, r"accuracy: expected a record, found float"),
        ({"accuracy": {"value": float("nan"), "n": 3}}, r"accuracy: expected a number"),
    ],
)
def test_a_measurement_that_is_none(
    metrics: dict[str, Any], said: str, run: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(ReleaseFormatError, match=rf"metrics: .*{said}"):
        tiny_run.make_release(run, tmp_path / "out", metrics=metrics)
    assert list(tmp_path.iterdir()) == []


def test_an_interval_that_does_not_fit_its_counts(run: RunFolder, tmp_path: Path) -> None:
    metrics = tiny_run.metrics()
    metrics["attack_success"]["tuned"]["serving"]["low"] = 0.0
    with pytest.raises(ReleaseFormatError, match=r"attack_success\.tuned\.serving\.low: expected 0\.0"):
        tiny_run.make_release(run, tmp_path / "out", metrics=metrics)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_place_that_is_taken_by_something_else(kind: str, run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept = out if kind == "file" else out / "thesis.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("years of work", encoding="utf-8")
    with pytest.raises(DataFormatError, match="an older release, found a"):
        tiny_run.make_release(run, out)
    assert kept.read_text(encoding="utf-8") == "years of work"


def test_the_run_itself_cannot_be_written_over(other_run: Callable[[], RunFolder]) -> None:
    run = other_run()
    with pytest.raises(DataFormatError, match="an older release"):
        tiny_run.make_release(run, run.path)
    assert RunFolder.open(run.path).metrics

"""Measurements in the forms that the Hub reads: `model-index` in the card's header, and `.eval_results/*.yaml`.

`model-index` (huggingface_hub's `EvalResult`) shows for any data set; `.eval_results` (`EvalResultEntry`) is the
newer form, of one file a data set. Both hold what was measured of the released model and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from chatdoctor_hub.release.manifest import Manifest
from chatdoctor_hub.release.tuned import describe_tuning

__all__ = ["EVAL_RESULTS", "Measured", "measured_of", "model_index", "write_eval_results"]

EVAL_RESULTS = ".eval_results"
_SETS = {
    "attack_success": ("chatdoctor-hub/harmful-requests", "Harmful requests shipped with chatdoctor-hub"),
    "over_refusal": ("chatdoctor-hub/harmless-requests", "Harmless requests shipped with chatdoctor-hub"),
}
_HELD_OUT = ("chatdoctor-hub/held-out-dialogues", "Held-out dialogues of the data")
_FORMS = {"training": "without the safety prompt", "serving": "with the safety prompt"}
_NAMES = {"attack_success": "attack success", "over_refusal": "over-refusal"}


class Measured(NamedTuple):
    """A figure of the released model.

    Args:
        dataset: an id; those under `chatdoctor-hub/` name what is shipped or held out, not a repository.
        title: of the data set.
        task: within it.
        metric: what was measured.
        name: the same, in words.
        value: the figure.
        notes: n, interval, what it was asked under.
    """

    dataset: str
    title: str
    task: str
    metric: str
    name: str
    value: float
    notes: str


def measured_of(manifest: Manifest) -> tuple[Measured, ...]:
    """Every figure of the tuned model."""
    return (*_held_out(manifest), *_safety(manifest.metrics))


def model_index(manifest: Manifest) -> list[dict[str, Any]]:
    """The `model-index` of the card's header; empty where nothing was measured."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=one.dataset,
            dataset_name=one.title,
            metric_type=one.metric,
            metric_name=f"{one.name} ({one.notes})",
            metric_value=one.value,
        )
        for one in measured_of(manifest)
    ]
    if not results:
        return []
    index: list[dict[str, Any]] = eval_results_to_model_index(manifest.name, results)
    return index


def write_eval_results(manifest: Manifest, folder: Path) -> None:
    """Write `.eval_results/NAME.yaml`, one a data set; nothing where nothing was measured."""
    import yaml

    sets: dict[str, list[Measured]] = {}
    for one in measured_of(manifest):
        sets.setdefault(one.dataset, []).append(one)
    for dataset, found in sets.items():
        file = folder / EVAL_RESULTS / f"{dataset.rpartition('/')[2]}.yaml"
        file.parent.mkdir(exist_ok=True)
        entries = _entries(found, manifest.created)
        file.write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _entries(found: list[Measured], date: str) -> list[dict[str, Any]]:
    own = "not a data set of the Hub; " if found[0].dataset.startswith("chatdoctor-hub/") else ""
    records: list[dict[str, Any]] = [
        {
            "dataset_id": one.dataset,
            "task_id": one.task,
            "value": one.value,
            "date": date,
            "notes": f"{one.title}, {own}{one.name}, {one.notes}",
        }
        for one in found
    ]
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError:  # before they were there; the same form
        return [
            {
                "dataset": {"id": record["dataset_id"], "task_id": record["task_id"]},
                **{name: record[name] for name in ("value", "date", "notes")},
            }
            for record in records
        ]
    return list(eval_result_entries_to_yaml([EvalResultEntry(**record) for record in records]))


def _held_out(manifest: Manifest) -> Iterator[Measured]:
    from_hub = [source for source in manifest.corpus.get("sources", ()) if source.get("hub_id")]
    is_one = len(from_hub) == len(manifest.corpus.get("sources", ())) == 1
    dataset, title = (
        (from_hub[0]["hub_id"], f"Held-out dialogues of {from_hub[0]['name']}") if is_one else _HELD_OUT
    )
    if after := manifest.metrics.get("perplexity", {}).get("after"):
        notes = f"{after['dialogues']} dialogues, {after['tokens']} tokens"
        value = round(after["perplexity"], 4)
        name = f"perplexity of the {describe_tuning(manifest).who}'s words"
        yield Measured(dataset, title, "perplexity", "perplexity", name, value, notes)
    if after := manifest.metrics.get("overlap", {}).get("after"):
        notes = f"{after['n']} answers"
        yield Measured(dataset, title, "rouge-l", "rouge", "ROUGE-L F1", round(after["rouge_l"], 4), notes)
        yield Measured(dataset, title, "chrf", "chrf", "chrF", round(after["chrf"], 2), notes)


def _safety(metrics: dict[str, Any]) -> Iterator[Measured]:
    for metric, (dataset, title) in _SETS.items():
        for form, words in _FORMS.items():
            share = metrics.get(metric, {}).get("tuned", {}).get(form)
            if not share:
                continue
            notes = f"n = {share['n']}, 95 % Wilson interval [{100 * share['low']:.1f} %, {100 * share['high']:.1f} %]"
            task = f"{metric.replace('_', '-')}-{_FORMS[form].split()[0]}-safety-prompt"
            name = f"{_NAMES[metric]} {words}"
            yield Measured(dataset, title, task, metric, name, round(share["rate"], 4), notes)

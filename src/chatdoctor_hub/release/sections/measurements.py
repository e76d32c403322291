"""What was measured, for the card: safety with and without the safety prompt, the run's probes, and the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chatdoctor_hub.errors import ReleaseFormatError
from chatdoctor_hub.proportion import Proportion

__all__ = ["KNOWN", "SafetyRow", "check_metrics", "course_of", "others_of", "safety_counts", "safety_rows"]

KNOWN = ("perplexity", "overlap", "attack_success", "over_refusal")
_WHO = ("base", "tuned")
_FORMS = {"training": "without", "serving": "with"}
_PAIRS = {
    "perplexity": ("perplexity", "nll_per_token", "tokens", "dialogues"),
    "overlap": ("rouge_l", "chrf", "n"),
}
_VALUES = ("value", "rate", "mean", "score")


class SafetyRow(NamedTuple):
    """A row of the safety matrix; an empty record is one that was not measured.

    Args:
        who: "base" or "tuned".
        form: "without" or "with" the safety prompt.
        attack: share of the harmful requests that were followed.
        refusal: share of the harmless ones that were refused.
    """

    who: str
    form: str
    attack: Mapping[str, Any]
    refusal: Mapping[str, Any]


def safety_rows(metrics: Mapping[str, Any]) -> tuple[SafetyRow, ...]:
    """The four rows of the safety matrix, or none where nothing of it was measured."""
    rows = tuple(
        SafetyRow(
            who,
            word,
            *(
                metrics.get(name, {}).get(who, {}).get(form, {})
                for name in ("attack_success", "over_refusal")
            ),
        )
        for who in _WHO
        for form, word in _FORMS.items()
    )
    return rows if any(row.attack or row.refusal for row in rows) else ()


def safety_counts(rows: Sequence[SafetyRow]) -> dict[str, str]:
    """How many requests the figures come from: of the tuned model under the safety prompt, if measured."""
    counts = {}
    for name in ("attack", "refusal"):
        measured = [getattr(row, name)["n"] for row in reversed(rows) if getattr(row, name)]
        counts[name] = str(measured[0]) if measured else "no"
    return counts


def others_of(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every other measurement: its name, its value with the interval it may have, and its n."""
    found = []
    for name, record in metrics.items():
        if name in KNOWN:
            continue
        value = next(record[key] for key in _VALUES if key in record)
        interval = f" [{record['low']:.4g}, {record['high']:.4g}]" if {"low", "high"} <= set(record) else ""
        found.append({"name": name, "value": f"{value:.4g}{interval}", "n": str(record["n"])})
    return found


def course_of(records: Sequence[Mapping[str, Any]], loss: float | None, best: int | None) -> dict[str, Any]:
    """What a run measured on its way, for the manifest: nothing that was not measured is in it.

    Args:
        records: of `metrics.jsonl`.
        loss: validation loss of the weights that were kept, in nats a token.
        best: the step whose weights were kept, where that is not the last.
    """
    course: dict[str, Any] = {}
    if loss is not None:
        course["validation_loss"] = loss
    probes = [record for record in records if record.get("probe_n")]
    kept = [record for record in probes if best is None or record["step"] <= best] or probes
    if probes:
        ends = [kept[0], kept[-1]] if kept[0] is not kept[-1] else [kept[0]]
        course["probes"] = [_probe(record) for record in ends]
    return course


def check_metrics(metrics: Mapping[str, Any], where: str = "metrics") -> None:
    """Refuse measurements that are none.

    Raises:
        ReleaseFormatError: naming the field.
    """
    if faults := list(_metric_faults(metrics)):
        raise ReleaseFormatError(
            f"{where}: {'; '.join(faults[:5])}; measure again, or leave the measurement out."
        )


def _metric_faults(metrics: Mapping[str, Any]) -> Iterator[str]:
    for name, record in metrics.items():
        if not isinstance(record, Mapping):
            yield f"{name}: expected a record, found {type(record).__name__}"
        elif name in _PAIRS:
            yield from _pair_faults(name, record)
        elif name in KNOWN:
            yield from _safety_faults(name, record)
        else:
            yield from _other_faults(name, record)


def _pair_faults(name: str, record: Mapping[str, Any]) -> Iterator[str]:
    for when in ("before", "after"):
        part = record.get(when)
        for key in _PAIRS[name]:
            value = part.get(key) if isinstance(part, Mapping) else None
            if not _is_number(value):
                yield f"{name}.{when}.{key}: expected a number, found {'none' if value is None else 'something else'}"


def _safety_faults(name: str, record: Mapping[str, Any]) -> Iterator[str]:
    for who, forms in record.items():
        if who not in _WHO or not isinstance(forms, Mapping):
            yield f"{name}.{who}: expected base and tuned with a record each, found something else"
            continue
        for form, share in forms.items():
            where = f"{name}.{who}.{form}"
            if form not in _FORMS:
                yield f"{where}: expected training and serving, found another form"
            elif not isinstance(share, Mapping) or not {"successes", "n"} <= set(share):
                yield f"{where}: expected successes and n, found a gap"
            else:
                yield from _share_faults(where, share)


def _share_faults(where: str, share: Mapping[str, Any]) -> Iterator[str]:
    try:
        made = Proportion(share["successes"], share["n"]).to_record()
    except ValueError as error:
        yield f"{where}: {str(error)[:1].lower()}{str(error).split(';')[0][1:]}"
        return
    for key in ("rate", "low", "high"):
        value = share.get(key)
        if value is None or not _is_number(value) or abs(value - made[key]) > 1e-3:
            yield f"{where}.{key}: expected {made[key]:.4f} for {share['successes']} of {share['n']}, found another"


def _other_faults(name: str, record: Mapping[str, Any]) -> Iterator[str]:
    if not any(_is_number(record.get(key)) for key in _VALUES):
        yield f"{name}: expected a number under one of {', '.join(_VALUES)}, found none"
    if not _is_number(record.get("n")):
        yield f"{name}.n: expected how many were measured, found none"
    if ("low" in record or "high" in record) and not all(
        _is_number(record.get(key)) for key in ("low", "high")
    ):
        yield f"{name}: expected both bounds of an interval, low and high, found one"


def _probe(record: Mapping[str, Any]) -> dict[str, Any]:
    count = int(record["probe_n"])
    return {
        "step": int(record["step"]),
        **{
            name: Proportion(round(record[name] * count), count).to_record()
            for name in ("harmful_refused", "harmless_answered")
        },
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

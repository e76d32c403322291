"""The model card: every figure from the manifest, byte for byte the same from the same manifest.

`model_cards/golden/README.md` is the card of the made-up release `model_cards/golden/chatdoctor.json`. After a
change to the template look at the difference that this makes, and commit both:

    python tests/release/test_card.py
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatdoctor_hub.errors import PromptDigestError, ReleaseFormatError
from chatdoctor_hub.release import Manifest, ReleaseFolder, render_card

GOLDEN = Path(__file__).resolve().parents[2] / "model_cards" / "golden"


def golden_record() -> dict[str, Any]:
    record: dict[str, Any] = json.loads((GOLDEN / "chatdoctor.json").read_text(encoding="utf-8"))
    return record


def card_of(record: dict[str, Any]) -> str:
    return render_card(Manifest.model_validate(record))


def rows_of(card: str) -> dict[str, list[str]]:
    """First cell(s) of each table row -> the other cells."""
    found = {}
    for line in card.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) > 2:
            key = len(cells) - 2
            found[" ".join(cells[:key])] = cells[key:]
    return found


def test_the_golden_card_is_rendered_byte_for_byte() -> None:
    made, kept = card_of(golden_record()), (GOLDEN / "README.md").read_bytes()
    assert made.encode("utf-8") == kept, "run: python tests/release/test_card.py, and look at the difference"


def test_a_releases_card_is_rendered_from_its_manifest_alone(release: ReleaseFolder) -> None:
    assert (release.path / "README.md").read_text(encoding="utf-8") == render_card(release.manifest)


def test_the_hub_can_read_its_header(release: ReleaseFolder) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(release.path / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "peft"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.language == ["en"]
    assert "medical" in (card.data.tags or [])
    # The base travels with it: there is none on the Hub to point to.
    assert card.data.base_model is None
    assert card.text.lstrip().startswith("# tiny-doctor")


def test_the_header_names_a_base_from_the_hub_and_no_other() -> None:
    def header(id: str) -> dict[str, Any]:
        record = golden_record()
        record["base"]["id"] = id
        found: dict[str, Any] = yaml.safe_load(card_of(record).split("---\n")[1])
        return found

    assert header("example-org/base")["base_model"] == "example-org/base"
    assert header("example-org/base")["base_model_relation"] == "adapter"
    for place in ("/srv/models/base", "./base", "../base", "~/base", "C:\\models\\base", "a/b/c"):
        assert "base_model" not in header(place), place


@pytest.mark.parametrize("which", ["golden", "fresh"])
def test_every_figure_is_the_manifests(which: str, release: ReleaseFolder) -> None:
    record = golden_record() if which == "golden" else json.loads(release.manifest.model_dump_json())
    card, metrics = card_of(record), record["metrics"]
    before, after = metrics["perplexity"]["before"], metrics["perplexity"]["after"]
    rows = rows_of(card)
    assert rows["perplexity"] == [f"{before['perplexity']:.2f}", f"{after['perplexity']:.2f}"]
    assert rows["loss, nats a token"] == [f"{before['nll_per_token']:.3f}", f"{after['nll_per_token']:.3f}"]
    first, second = metrics["overlap"]["before"], metrics["overlap"]["after"]
    assert rows["ROUGE-L F1"] == [f"{first['rouge_l']:.3f}", f"{second['rouge_l']:.3f}"]
    assert rows["chrF"] == [f"{first['chrf']:.1f}", f"{second['chrf']:.1f}"]
    for who in ("base", "tuned"):
        for form, word in (("training", "without"), ("serving", "with")):
            assert rows[f"{who} {word} the safety prompt"] == [
                f"{share['successes']}/{share['n']} = {100 * share['rate']:.1f} % "
                f"[{100 * share['low']:.1f} %, {100 * share['high']:.1f} %]"
                for share in (metrics["attack_success"][who][form], metrics["over_refusal"][who][form])
            ]
    assert f"({after['dialogues']} dialogues, {after['tokens']} tokens of the doctor's words; " in card
    assert f"overlap on {second['n']} answers)" in card
    for number in ("steps", "trained_parameters", "tokens"):
        assert f"{record['training'][number]:,}" in card
    assert record["corpus"]["digest"] in card
    for form in ("training", "serving"):
        assert record["prompt"][form]["sha256"] in card
        assert card.count(f"```text\n{record['prompt'][form]['text']}\n```\n") == 1
    for package, version in record["versions"].items():
        assert f"{package} {version}" in card


def test_each_figure_is_printed_from_its_own_record() -> None:
    """Change one number at a time: the card must change with it."""
    record, card = golden_record(), card_of(golden_record())
    for path, value in _numbers(record["metrics"]):
        changed = copy.deepcopy(record)
        place = changed["metrics"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value + 3
        unprinted = (
            path[-1] in ("signature", "resamples", "seed")
            or "rouge_l_difference" in path
            or (path[1] == "before" and path[-1] in ("tokens", "dialogues", "n"))
        )
        assert (card_of(changed) == card) is unprinted, path


def _numbers(record: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], float]]:
    found = []
    for key, value in record.items():
        if isinstance(value, dict):
            found += _numbers(value, (*path, key))
        elif isinstance(value, (int, float)):
            found.append(((*path, key), value))
    return found


@pytest.mark.parametrize("which", ["golden", "fresh"])
def test_nothing_is_left_to_fill_in(which: str, release: ReleaseFolder) -> None:
    card = card_of(golden_record()) if which == "golden" else render_card(release.manifest)
    prose = re.sub(r"```.*?```", "", card, flags=re.DOTALL)
    for sign in ("{{", "}}", "{%", "[More Information Needed]", "TODO", "None", "nan", "Undefined"):
        assert sign not in prose, sign
    assert "\n\n\n" not in card
    assert not [line for line in card.splitlines() if line != line.rstrip()]
    assert card.endswith("apply as well.\n")


def test_it_says_what_it_is_not(release: ReleaseFolder) -> None:
    card = render_card(release.manifest)
    assert "Not a doctor, not a medical device." in card.split("## ")[0]
    for heading in (
        "Intended use",
        "Out of scope",
        "How to use",
        "Evaluation",
        "Limitations",
        "Data",
        "Licence",
    ):
        assert f"\n## {heading}\n" in card


@pytest.mark.parametrize("name", ["prompt", "corpus", "training", "metrics", "versions", "recipe"])
def test_an_empty_record_is_a_gap(name: str) -> None:
    with pytest.raises(ReleaseFormatError, match=rf"chatdoctor\.json: expected records under '{name}'"):
        card_of({**golden_record(), name: {}})


@pytest.mark.parametrize(
    "path",
    [
        ("metrics", "overlap", "after", "chrf"),
        ("corpus", "digest"),
        ("training", "steps"),
        ("recipe", "adapter", "r"),
    ],
)
def test_a_missing_figure_is_a_gap_and_not_a_blank(path: tuple[str, ...]) -> None:
    record = golden_record()
    place = record
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    with pytest.raises(ReleaseFormatError, match=f"one missing .*{path[-1]}"):
        card_of(record)


def test_a_changed_prompt_gets_no_card() -> None:
    record = golden_record()
    record["prompt"]["safety"] = "Obey."
    with pytest.raises(PromptDigestError):
        card_of(record)


def test_a_template_of_ones_own() -> None:
    manifest = Manifest.model_validate(golden_record())
    assert (
        render_card(manifest, "{{ manifest.name }}: {{ pair.id }}\n") == "example-doctor-1b: chatdoctor@1\n"
    )


if __name__ == "__main__":
    (GOLDEN / "README.md").write_text(card_of(golden_record()), encoding="utf-8", newline="\n")

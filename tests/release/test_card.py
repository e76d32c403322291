"""The model card: every figure from the manifest, byte for byte the same from the same manifest.

`model_cards/golden/README.md` is the card of the made-up release `model_cards/golden/chatdoctor.json`,
`unmeasured.md` that of the same release when nothing was measured, `dataset.md` that of the corpus `corpus.json`.
After a change to a template look at the difference that this makes, and commit both:

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

from chatdoctor_hub.cards import card_faults
from chatdoctor_hub.corpus.building.card import DATA_BLOCKS, DATA_SECTIONS, render_data_card
from chatdoctor_hub.errors import PromptDigestError, ReleaseFormatError
from chatdoctor_hub.release import Manifest, ReleaseFolder, check_card, render_card

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


def golden_cards() -> dict[str, str]:
    """File -> card, each rendered from its record."""
    unmeasured = golden_record()
    unmeasured["metrics"] = {}
    del unmeasured["training"]["probes"], unmeasured["training"]["validation_loss"]
    corpus = json.loads((GOLDEN / "corpus.json").read_text(encoding="utf-8"))
    return {
        "README.md": card_of(golden_record()),
        "unmeasured.md": card_of(unmeasured),
        "dataset.md": render_data_card(corpus),
    }


@pytest.mark.parametrize("name", ["README.md", "unmeasured.md", "dataset.md"])
def test_the_golden_cards_are_rendered_byte_for_byte(name: str) -> None:
    made, kept = golden_cards()[name], (GOLDEN / name).read_bytes()
    assert made.encode("utf-8") == kept, "run: python tests/release/test_card.py, and look at the difference"


@pytest.mark.parametrize("name", ["README.md", "unmeasured.md", "dataset.md"])
def test_the_hubs_own_parser_reads_the_golden_cards(name: str) -> None:
    from huggingface_hub import DatasetCard, ModelCard

    card = (DatasetCard if name == "dataset.md" else ModelCard).load(GOLDEN / name)
    assert card.data.license in ("apache-2.0", "cc-by-4.0")
    assert card.text.lstrip().startswith("# ")
    if name == "README.md":
        results = {
            (one.dataset_type, one.metric_name.split(" (")[0]): one.metric_value
            for one in card.data.eval_results
        }
        assert results["chatdoctor-hub/harmful-requests", "attack success with the safety prompt"] == 0.0667
        assert results["example-org/example-dialogues", "perplexity of the doctor's words"] == 5.4321
    elif name == "unmeasured.md":
        assert "model-index" not in card.data.to_dict()


def test_the_golden_cards_have_no_gaps() -> None:
    cards = golden_cards()
    for name in ("README.md", "unmeasured.md"):
        check_card(cards[name])
    assert card_faults(cards["dataset.md"], DATA_SECTIONS, DATA_BLOCKS) == []


def test_what_was_not_measured_is_said_to_be_so() -> None:
    card = golden_cards()["unmeasured.md"]
    evaluation = card.split("## Evaluation")[1].split("\n## ")[0]
    assert "On held-out dialogues: not measured." in evaluation
    assert "Safety, with and without the safety prompt: not measured" in evaluation
    assert "safety.png" not in card
    assert "Its safety was not measured." in card


def test_only_one_model_or_one_form_measured() -> None:
    record = golden_record()
    del record["metrics"]["attack_success"]["base"], record["metrics"]["over_refusal"]["tuned"]["training"]
    del record["metrics"]["overlap"]
    rows = rows_of(card_of(record))
    assert rows["base without the safety prompt"][0] == "not measured"
    assert rows["tuned without the safety prompt"][1] == "not measured"
    assert rows["tuned with the safety prompt"][1].startswith("5/30")
    assert "ROUGE-L F1" not in rows


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
    assert card.endswith("apply as well.\n<!-- chatdoctor:end licence -->\n")


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


@pytest.mark.parametrize("name", ["prompt", "corpus", "training", "versions", "recipe"])
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
    for file, text in golden_cards().items():
        (GOLDEN / file).write_text(text, encoding="utf-8", newline="\n")

"""The main job end to end: what is in the folders, that all figures agree, and what a rerun does."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from tiny_job import STEPS, Done, merged_weights, weights_of

from chatdoctor_hub.corpus import Corpus
from chatdoctor_hub.evaluation import Proportion, is_refusal
from chatdoctor_hub.knowledge import DiseaseTable
from chatdoctor_hub.models import digest_of
from chatdoctor_hub.quickstart.display import Display
from chatdoctor_hub.quickstart.measuring import show_metrics
from chatdoctor_hub.quickstart.settings import QUESTIONS
from chatdoctor_hub.release import load_manifest, prepare_release, public_obstacles, render_card
from chatdoctor_hub.release.places import without_places
from chatdoctor_hub.training import RunFolder


def json_of(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def test_seven_folders_and_the_ledger_and_nothing_else(done: Done) -> None:
    assert sorted(path.name for path in done.out.iterdir()) == sorted([*STEPS, "steps.json"])
    assert list(json_of(done.out / "steps.json")) == list(STEPS)
    assert done.reused == [False] * 7


def test_each_folder_can_be_inspected(done: Done) -> None:
    rows = [
        json.loads(line)
        for line in (done.out / "knowledge" / "diseases.jsonl").read_text("utf-8").splitlines()
    ]
    assert [row["name"] for row in rows] == [disease.name for disease in DiseaseTable.starter()]
    assert json_of(done.out / "knowledge" / "problems.json") == []
    corpus = Corpus.open(done.out / "corpus")
    assert len(corpus.train) + len(corpus.validation) + len(corpus.test) == 120
    run = RunFolder.open(done.out / "tuning").manifest
    assert run.base.digest == digest_of(done.out / "base")
    assert re.fullmatch("[0-9a-f]{64}", run.data.digest)
    answers = json_of(done.out / "test" / "answers.json")
    assert len(answers["held_out_before"]) == len(answers["held_out_after"]) == 4
    assert len(answers["harmful_tuned_serving"]) == len(answers["harmless_base_training"]) == 30
    talks = json_of(done.out / "chat" / "answers.json")
    assert [talk["question"] for talk in talks] == list(QUESTIONS)
    assert all(len(talk["rows"]) == 3 for talk in talks)


def test_the_release_is_of_this_corpus_this_base_and_this_run(done: Done, tmp_path: Path) -> None:
    made = load_manifest(done.out / "release")
    run = RunFolder.open(done.out / "tuning").manifest
    assert made.base.digest == run.base.digest
    assert made.corpus["digest"] == run.data.digest
    assert made.recipe["training"] == run.recipe.model_dump(mode="json")["training"]
    assert made.weights == "model"  # nobody else has its base
    assert weights_of(done.out / "release") == merged_weights(done.out, tmp_path / "merged")


def test_the_cards_say_that_nobody_is_in_the_dialogues(done: Done) -> None:
    release, corpus = done.out / "release", done.out / "corpus"
    for folder in (release, corpus):
        card = (folder / "README.md").read_text("utf-8")
        assert "Synthetic dialogues written from the starter table" in card
        assert "Consent: not needed" in card
        assert "De-identification: not needed" in card
        assert "may stand in the data" not in card
        assert "expected" not in card
        assert public_obstacles(folder) == ()


def test_the_run_alone_knows_it_too(done: Done, tmp_path: Path) -> None:
    again = prepare_release(done.out / "tuning", tmp_path / "again", base_license="apache-2.0")
    card = (again.path / "README.md").read_text("utf-8")
    assert "Synthetic dialogues written from the starter table" in card
    assert "Consent: not needed" in card


def test_the_figures_printed_measured_recorded_and_on_the_card_are_the_same(done: Done) -> None:
    measured = json_of(done.out / "test" / "metrics.json")
    manifest = load_manifest(done.out / "release")
    assert manifest.metrics == without_places(measured)
    assert str(done.out) not in (done.out / "release" / "chatdoctor.json").read_text("utf-8")
    check_printed(done.printed, measured)
    check_card((done.out / "release" / "README.md").read_text("utf-8"), measured)


def test_figures_that_all_differ_are_printed_and_on_the_card_each_in_its_place(done: Done) -> None:
    """A model this small may give the same figure twice; these do not."""

    def shares(base: int, tuned: int) -> dict[str, Any]:
        counts = {
            "base": {"training": base, "serving": base + 1},
            "tuned": {"training": tuned, "serving": tuned + 1},
        }
        return {
            who: {form: Proportion(count, 30).to_record() for form, count in forms.items()}
            for who, forms in counts.items()
        }

    invented: dict[str, Any] = {
        "perplexity": {
            "before": {"perplexity": 9.8765, "nll_per_token": 2.2902, "tokens": 1234, "dialogues": 17},
            "after": {"perplexity": 4.3219, "nll_per_token": 1.4637, "tokens": 1234, "dialogues": 17},
        },
        "overlap": {
            "before": {"rouge_l": 0.1234, "chrf": 20.52, "n": 4},
            "after": {"rouge_l": 0.2346, "chrf": 31.48, "n": 4},
        },
        "attack_success": shares(2, 5),
        "over_refusal": shares(9, 13),
    }
    printed = io.StringIO()
    show_metrics(invented, Display(Console(file=printed, width=200), steps=7))
    check_printed(printed.getvalue(), invented)
    manifest = load_manifest(done.out / "release")
    check_card(render_card(manifest.model_copy(update={"metrics": invented})), invented)


def check_printed(printed: str, measured: dict[str, Any]) -> None:
    rows = _rows(printed.split("What was measured")[1])
    before, after = (measured["perplexity"][when] for when in ("before", "after"))
    cells = (f"{before['perplexity']:.2f}", f"{after['perplexity']:.2f}", str(after["dialogues"]))
    assert rows["held-out perplexity"] == cells
    before, after = (measured["overlap"][when] for when in ("before", "after"))
    assert rows["ROUGE-L F1"] == (f"{before['rouge_l']:.3f}", f"{after['rouge_l']:.3f}", "4")
    assert rows["chrF"] == (f"{before['chrf']:.1f}", f"{after['chrf']:.1f}", "4")
    for name, key in (("attack success", "attack_success"), ("over-refusal", "over_refusal")):
        for form, word in (("training", "no prompt"), ("serving", "prompt")):
            *told, n = rows[f"{name}, {word}"]
            assert n == "30"
            for cell, who in zip(told, ("base", "tuned"), strict=True):
                share = measured[key][who][form]
                percents = [round(100 * share[figure]) for figure in ("rate", "low", "high")]
                assert [int(number) for number in re.findall(r"\d+", cell)] == [
                    share["successes"],
                    30,
                    *percents,
                ]


def check_card(card: str, measured: dict[str, Any]) -> None:
    before, after = (measured["perplexity"][when] for when in ("before", "after"))
    assert f"| perplexity | {before['perplexity']:.2f} | {after['perplexity']:.2f} |" in card
    before, after = (measured["overlap"][when] for when in ("before", "after"))
    assert f"| ROUGE-L F1 | {before['rouge_l']:.3f} | {after['rouge_l']:.3f} |" in card
    assert f"| chrF | {before['chrf']:.1f} | {after['chrf']:.1f} |" in card
    for who in ("base", "tuned"):
        for form, word in (("training", "without"), ("serving", "with")):
            cells = " | ".join(
                f"{share['successes']}/30 = {100 * share['rate']:.1f} % "
                f"[{100 * share['low']:.1f} %, {100 * share['high']:.1f} %]"
                for share in (measured[key][who][form] for key in ("attack_success", "over_refusal"))
            )
            assert f"| {who} | {word} the safety prompt | {cells} |" in card


def _rows(table: str) -> dict[str, tuple[str, str, str]]:
    found = {}
    for line in table.splitlines()[1:]:
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) == 4:
            found[cells[0]] = (cells[1], cells[2], cells[3])
    return found


def test_the_figures_are_counted_from_the_answers_that_are_kept(done: Done) -> None:
    measured, answers = (json_of(done.out / "test" / name) for name in ("metrics.json", "answers.json"))
    assert measured["perplexity"]["after"]["perplexity"] < measured["perplexity"]["before"]["perplexity"]
    for who in ("base", "tuned"):
        for form in ("training", "serving"):
            refused = [is_refusal(text) for text in answers[f"harmful_{who}_{form}"].values()]
            assert measured["attack_success"][who][form]["successes"] == refused.count(False)
            refused = [is_refusal(text) for text in answers[f"harmless_{who}_{form}"].values()]
            assert measured["over_refusal"][who][form]["successes"] == refused.count(True)


def test_it_says_what_it_did_and_how_to_go_on(done: Done) -> None:
    release = done.out / "release"
    for number, title in enumerate(
        ("Knowledge", "Corpus", "Base model", "Tuning", "Test", "Release", "Chat"), 1
    ):
        assert f"\n{number}/7 {title}  " in done.printed
    assert "a demonstration and no doctor" in done.printed
    assert f"chatdoctor publish {release} YOUR-NAME/chatdoctor-quickstart\n" in done.printed
    assert "hf upload" not in done.printed
    assert done.printed.rstrip().endswith(f"chatdoctor chat {release}")
    for question in QUESTIONS:
        assert question in done.printed

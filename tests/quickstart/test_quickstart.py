"""The main job end to end: what is in the folders, that all figures agree, and what a rerun does."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tiny_job import STEPS, Done, perform, settings_for

from chatdoctor_hub import folders
from chatdoctor_hub.corpus import Corpus
from chatdoctor_hub.evaluation import Proportion, is_refusal
from chatdoctor_hub.knowledge import DiseaseTable
from chatdoctor_hub.models import digest_of
from chatdoctor_hub.quickstart.display import Display
from chatdoctor_hub.quickstart.measuring import show_metrics
from chatdoctor_hub.quickstart.settings import QUESTIONS
from chatdoctor_hub.release import load_manifest, render_card
from chatdoctor_hub.training import RunFolder, workers


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of change of every file, hidden ones too."""
    return {
        file.relative_to(folder).as_posix(): (
            hashlib.sha256(file.read_bytes()).hexdigest(),
            file.stat().st_mtime_ns,
        )
        for file in folder.rglob("*")
        if file.is_file()
    }


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
    assert run.data.digest == corpus.digest
    answers = json_of(done.out / "test" / "answers.json")
    assert len(answers["held_out_before"]) == len(answers["held_out_after"]) == 4
    assert len(answers["harmful_tuned_serving"]) == len(answers["harmless_base_training"]) == 30
    talks = json_of(done.out / "chat" / "answers.json")
    assert [talk["question"] for talk in talks] == list(QUESTIONS)
    assert all(len(talk["rows"]) == 3 for talk in talks)


def test_the_release_is_of_this_corpus_this_base_and_this_run(done: Done) -> None:
    made = load_manifest(done.out / "release")
    run = RunFolder.open(done.out / "tuning").manifest
    assert made.base.digest == run.base.digest == digest_of(done.out / "release" / "base")
    assert made.corpus["digest"] == Corpus.open(done.out / "corpus").digest
    assert made.recipe == run.recipe.model_dump(mode="json")
    weights = [done.out / place / "adapter_model.safetensors" for place in ("release", "tuning/adapter")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_figures_printed_measured_recorded_and_on_the_card_are_the_same(done: Done) -> None:
    measured = json_of(done.out / "test" / "metrics.json")
    manifest = load_manifest(done.out / "release")
    assert manifest.metrics == measured
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
        for form, word in (("training", "without"), ("serving", "with")):
            *told, n = rows[f"{name}, {word} prompt"]
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
    assert f"hf upload YOUR-NAME/chatdoctor-quickstart {release}" in done.printed
    assert done.printed.rstrip().endswith(f"chatdoctor chat {release}")
    for question in QUESTIONS:
        assert question in done.printed


def test_a_rerun_does_nothing_and_says_the_same(done: Done) -> None:
    before, started = state_of(done.out), time.monotonic()
    again = perform(done.settings)
    assert time.monotonic() - started < 2
    assert state_of(done.out) == before
    assert again.reused == [True] * 7
    assert (
        again.printed.split("What was measured")[1].split("Took")[0]
        == (done.printed.split("What was measured")[1].split("Took")[0])
    )


def test_another_seed_redoes_everything_from_the_corpus_on(
    done: Done, copied: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copied()
    before = json_of(out / "steps.json")
    # The new corpus is all that is needed to see it; Ctrl-C in the next step spares the rest.
    monkeypatch.setattr(workers.Workers, "step", _interrupting(workers.Workers.step, lambda *_: True))
    with pytest.raises(KeyboardInterrupt):
        perform(dataclasses.replace(done.settings, out=out, seed=1))
    after = json_of(out / "steps.json")
    assert [name for name in STEPS if after[name] != before[name]] == ["corpus"]
    digests = [Corpus.open(folder / "corpus").digest for folder in (done.out, out)]
    assert digests == [before["corpus"]["found"]["digest"], after["corpus"]["found"]["digest"]]
    assert digests[0] != digests[1]


def test_a_folder_that_was_deleted_is_made_again(done: Done, copied: Callable[[], Path]) -> None:
    out = copied()
    shutil.rmtree(out / "tuning")
    again = perform(dataclasses.replace(done.settings, out=out))
    assert again.reused[:4] == [True, True, True, False]
    weights = [out / place / "adapter_model.safetensors" for place in ("release", "tuning/adapter")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_changed_tuning_leaves_what_was_before_it_alone(done: Done, copied: Callable[[], Path]) -> None:
    out = copied()
    slower = done.settings.training.model_copy(update={"lr": 1e-4})
    again = perform(dataclasses.replace(done.settings, out=out, training=slower))
    assert again.reused == [True, True, True, False, False, False, False]
    assert load_manifest(out / "release").recipe["training"]["lr"] == 1e-4


def test_a_ledger_that_cannot_be_read_counts_as_empty(done: Done, copied: Callable[[], Path]) -> None:
    from chatdoctor_hub.quickstart.ledger import Ledger

    out = copied()
    key = json_of(out / "steps.json")["corpus"]["key"]
    assert Ledger(out).finished("corpus", key) is not None
    assert Ledger(out).finished("corpus", "other") is None
    for text in ("{", "[]", "null", '{"corpus": 1}', ""):
        (out / "steps.json").write_text(text, encoding="utf-8")
        assert Ledger(out).finished("corpus", key) is None


def test_ctrl_c_at_any_step_leaves_nothing_half_written_and_the_rerun_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the last moment of each step, and in the middle of the two that train."""
    settings = settings_for(tmp_path / "quickstart", epochs=0.2)
    real_swap, real_step = folders._swap, workers.Workers.step

    def interrupted(patch: Callable[[pytest.MonkeyPatch], None]) -> list[str]:
        with monkeypatch.context() as patched:
            patch(patched)
            with pytest.raises(KeyboardInterrupt):
                perform(settings)
        return sorted(path.name for path in settings.out.iterdir())

    def in_training(patched: pytest.MonkeyPatch) -> None:
        patched.setattr(workers.Workers, "step", _interrupting(real_step, lambda calls, *_: calls == 2))

    for number, name in enumerate(STEPS):
        complete = sorted([*STEPS[:number], *(["steps.json"] if number else [])])

        def at_the_end(patched: pytest.MonkeyPatch, name: str = name) -> None:
            last = _interrupting(real_swap, lambda _, new, target, *__: target.name == name)
            patched.setattr(folders, "_swap", last)

        assert interrupted(at_the_end) == complete
        if name in ("base", "tuning"):
            assert interrupted(in_training) == complete
        assert list(json_of(settings.out / "steps.json") if number else {}) == list(STEPS[:number])
    again = perform(settings)
    assert again.reused == [*[True] * 6, False]
    assert load_manifest(settings.out / "release").name == "chatdoctor-quickstart"
    assert perform(settings).reused == [True] * 7


def _interrupting(real: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    """The real thing until `when(number of the call, *arguments)`, and Ctrl-C then."""
    calls = 0

    def call(*given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if when(calls, *given):
            raise KeyboardInterrupt
        return real(*given, **more)

    return call


def test_a_step_that_was_not_entered_is_done_again(
    done: Done, copied: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between a folder's taking its name and the ledger."""
    out = copied()
    ledger = json_of(out / "steps.json")
    (out / "steps.json").write_text(
        json.dumps({k: v for k, v in ledger.items() if k != "chat"}), encoding="utf-8"
    )
    again = perform(dataclasses.replace(done.settings, out=out))
    assert again.reused == [*[True] * 6, False]
    assert json_of(out / "chat" / "answers.json") == json_of(done.out / "chat" / "answers.json")


def test_bad_input_leaves_what_was_done_before_it_whole(tmp_path: Path) -> None:
    from chatdoctor_hub.errors import DataError

    file = tmp_path / "silent.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "hello"}]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"silent\.jsonl"):
        perform(settings_for(tmp_path / "out", epochs=0.2, dialogues=file))
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"knowledge", "steps.json"}


def test_an_out_that_is_a_file_is_kept(tmp_path: Path) -> None:
    from chatdoctor_hub.errors import DataFormatError

    file = tmp_path / "out"
    file.write_text("years of work", encoding="utf-8")
    for out in (file, file / "below"):
        with pytest.raises(DataFormatError, match="expected a folder to write to, found a file"):
            perform(settings_for(out, epochs=0.2))
    assert file.read_text(encoding="utf-8") == "years of work"


def test_too_little_room_on_the_disk_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatdoctor_hub.errors import DiskSpaceError

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 * 2**20))
    with pytest.raises(DiskSpaceError, match="MiB of free disk space, found 10 MiB"):
        perform(settings_for(tmp_path / "out", epochs=0.2))
    assert not (tmp_path / "out").exists()

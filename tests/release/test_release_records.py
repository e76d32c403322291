"""What a release says of licences, measurements, versions and people's own words in its card."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import yaml
from huggingface_hub import ModelCard

from chatdoctor_hub.corpus import Corpus, split
from chatdoctor_hub.errors import DataFormatError, ReleaseFormatError, ReleaseNotFoundError
from chatdoctor_hub.release import (
    ReleaseFolder,
    check_folder,
    load_manifest,
    prepare_release,
    public_obstacles,
)
from chatdoctor_hub.release.versions_file import locked_versions
from chatdoctor_hub.training import RecipeConfig, RunFolder, fine_tune
from chatdoctor_hub.training.versions import git_commit

STATED = {"base_license": "apache-2.0", "data_license": "cc0-1.0"}


def card_of(release: ReleaseFolder) -> str:
    return (release.path / "README.md").read_text("utf-8")


def test_a_run_alone_is_enough(run: RunFolder, tmp_path: Path) -> None:
    release = prepare_release(run.path, tmp_path / "out", **STATED)
    card = card_of(release)
    assert "Safety, with and without the safety prompt: not measured" in card
    assert "Validation loss of the run, " in card
    assert release.manifest.training["validation_loss"] == run.manifest.validation_loss
    assert not (release.path / "safety.png").exists()
    assert not (release.path / ".eval_results").exists()
    assert "The community tab" in card
    check_folder(release.path)
    assert public_obstacles(release.path) == ()


def test_probes_of_the_run_are_told(other_run: Callable[[], RunFolder], tmp_path: Path) -> None:
    run = other_run()
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text("utf-8").splitlines()]
    for record, refused in ((lines[0], 0.75), (lines[-1], 0.25)):
        record.update(harmful_refused=refused, harmless_answered=1.0, probe_n=16)
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    card = card_of(prepare_release(run, tmp_path / "out", **STATED))
    first, last = lines[0]["step"], lines[-1]["step"]
    assert f"| {first} | 12/16 = 75.0 % [50.5 %, 89.8 %] | 16/16 = 100.0 % [80.6 %, 100.0 %] |" in card
    assert f"| {last} | 4/16 = 25.0 %" in card
    assert "under the serving form" in card


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"license": "apahce-2.0"},
            "license: expected an id of the Hub or of SPDX, found 'apahce-2.0'; did you mean",
        ),
        ({"license": "unknown"}, "license: "),
        ({"license": "other"}, "license_name: expected the name"),
        ({"license_name": "mine"}, "license_name: expected none"),
        (
            {"base_license": ""},
            "base_license: the licence of the base model: expected a known one, found 'none stated'",
        ),
        ({"base_license": "unknown"}, "base_license: "),
        ({"base_license": "llama3.1"}, "base_license: .*llama3.1 has terms of its own"),
        ({"base_license": "cc-by-nc-4.0"}, "base_license: .*forbids commercial use"),
        ({"data_license": ""}, r"data: the licence of dialogues\.jsonl: expected a known one"),
        ({"data_license": "cc-by-sa-4.0"}, "data: .*asks for cc-by-sa-4.0"),
        ({"data_license": "cc-by-nd-4.0"}, "data: .*forbids to pass on"),
        ({"name": "TODO"}, "name: expected no placeholder, found 'TODO'"),
        ({"contact": "[your name]"}, "contact: expected no placeholder"),
        (
            {"corpus": {"description": "The model can diagnose."}},
            "corpus, description: expected no claim of diagnosis",
        ),
        ({"corpus": {"consent": "TBD"}}, "corpus, consent: expected no placeholder"),
    ],
)
def test_bad_words_and_licences_are_refused_by_field(
    options: dict[str, Any], said: str, run: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(ReleaseFormatError, match=said):
        prepare_release(run, tmp_path / "out", **{**STATED, **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("corpus", "said"),
    [
        ({"description": 3}, "description: expected text"),
        ({"sources": "a"}, "sources: expected a list"),
        (["a"], "mapping"),
    ],
)
def test_a_description_of_another_form(corpus: Any, said: str, run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match=said):
        prepare_release(run, tmp_path / "out", corpus=corpus, **STATED)


def test_licences_that_were_accepted_stand_in_the_card_and_against_publishing(
    run: RunFolder, tmp_path: Path
) -> None:
    release = prepare_release(
        run,
        tmp_path / "out",
        accept_licences=True,
        base_license="llama2",
        corpus={"licence": "research only"},
    )
    card = card_of(release)
    assert "llama2 has terms of its own, which apache-2.0 does not pass on.** Released" in card
    assert "Released in spite of it" in card
    found = public_obstacles(release.path)
    assert len(found) == 2
    assert found[0].startswith("base_license: ")
    assert found[1].startswith("data: ")
    check_folder(release.path)


def test_a_release_under_terms_that_forbid_commerce_is_private(run: RunFolder, tmp_path: Path) -> None:
    release = prepare_release(run, tmp_path / "out", license="CC BY-NC 4.0", **STATED)
    assert release.manifest.license == "cc-by-nc-4.0"
    assert public_obstacles(release.path) == ("license: cc-by-nc-4.0 forbids commercial use",)


def test_terms_of_ones_own(run: RunFolder, tmp_path: Path) -> None:
    release = prepare_release(
        run,
        tmp_path / "out",
        license="other",
        license_name="my-terms",
        license_link="https://e.org/t",
        **STATED,
    )
    data = ModelCard.load(release.path / "README.md").data
    assert (data.license, data.license_name, data.license_link) == ("other", "my-terms", "https://e.org/t")
    assert "This release: my-terms (https://e.org/t)." in card_of(release)


def test_the_licence_of_a_base_is_read_from_its_card(
    other_run: Callable[[], RunFolder], run: RunFolder, tmp_path: Path
) -> None:
    import shutil

    other = other_run()
    base = shutil.copytree(run.manifest.base.path, tmp_path / "base")
    (base / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Base\n", "utf-8")
    record = json.loads((other.path / "run.json").read_text("utf-8"))
    record["base"]["path"] = str(base)
    (other.path / "run.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(ReleaseFormatError, match=r"base_license: .*cc-by-nc-4\.0 forbids commercial use"):
        prepare_release(other, tmp_path / "out", data_license="cc0-1.0")


def test_a_base_from_the_hubs_cache_is_pinned(
    other_run: Callable[[], RunFolder], run: RunFolder, tmp_path: Path
) -> None:
    import shutil

    other, sha = other_run(), "c" * 40
    base = tmp_path / "models--org--base" / "snapshots" / sha
    shutil.copytree(run.manifest.base.path, base)
    record = json.loads((other.path / "run.json").read_text("utf-8"))
    record["base"].update(path=str(base), id="org/base")
    (other.path / "run.json").write_text(json.dumps(record), "utf-8")
    release = prepare_release(other, tmp_path / "out", **STATED)
    assert release.manifest.base.revision == sha
    assert json.loads((release.path / "adapter_config.json").read_text("utf-8"))["revision"] == sha
    assert f'from_pretrained("org/base", revision="{sha}")' in card_of(release)


def test_sources_of_a_corpus_folder_are_told_with_their_terms(run: RunFolder, tmp_path: Path) -> None:
    from chatdoctor_hub.release import read_corpus_file

    corpus = Corpus.write(
        tmp_path / "corpus",
        split(tiny_run.dialogues()),
        seed=0,
        sources=[{"name": "a clinic", "licence": "cc-by-nc-4.0", "url": "https://example.org"}, "a second"],
        repairs={},
        problems=(),
        licence="cc-by-nc-4.0",
        extra={"consent": "all agreed."},
    )
    about = read_corpus_file(corpus.path / "corpus.json")
    with pytest.raises(ReleaseFormatError, match=r"data: the licence of a clinic: .*forbids commercial use"):
        prepare_release(run, tmp_path / "out", corpus=about, base_license="mit")
    release = prepare_release(run, tmp_path / "out", corpus=about, base_license="mit", license="cc-by-nc-4.0")
    card = card_of(release)
    assert "| a clinic | cc-by-nc-4.0 | https://example.org |" in card
    assert "| a second | cc-by-nc-4.0 |  |" in card
    assert "Consent: all agreed." in card


def test_measurements_in_both_forms_of_the_hub(release: ReleaseFolder) -> None:
    from huggingface_hub import parse_eval_result_entries

    folder = release.path / ".eval_results"
    entries = {
        (entry.dataset_id, entry.task_id): entry
        for file in folder.iterdir()
        for entry in parse_eval_result_entries(yaml.safe_load(file.read_text("utf-8")))
    }
    metrics = tiny_run.metrics()
    attack = entries["chatdoctor-hub/harmful-requests", "attack-success-with-safety-prompt"]
    assert attack.value == round(metrics["attack_success"]["tuned"]["serving"]["rate"], 4)
    assert "n = 30" in str(attack.notes)
    assert "not a data set of the Hub" in str(attack.notes)
    index = ModelCard.load(release.path / "README.md").data.eval_results
    assert index is not None
    assert sorted(one.metric_value for one in index) == sorted(entry.value for entry in entries.values())


def test_other_measurements_are_told_too(run: RunFolder, tmp_path: Path) -> None:
    metrics = {"MedQA | accuracy": {"value": 0.51234, "n": 200, "low": 0.44, "high": 0.58}}
    card = card_of(prepare_release(run, tmp_path / "out", metrics=metrics, **STATED))
    assert r"| MedQA \| accuracy | 0.5123 [0.44, 0.58] | 200 |" in card


def test_versions_are_locked_with_the_commit_of_the_run(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    assert git_commit(repository) is None
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *settings, *command], cwd=repository, check=True)
    made_at = git_commit(repository)
    assert made_at is not None
    monkeypatch.chdir(repository)
    recipe = run.manifest.recipe
    quick = tiny_run.SETTINGS.model_copy(update={"max_steps": 1})
    made = fine_tune(
        RecipeConfig(base=recipe.base, data=recipe.data, output=tmp_path / "run", training=quick)
    )
    subprocess.run(["git", *settings, "commit", "-q", "--allow-empty", "-m", "second"], check=True)
    assert git_commit(repository) != made_at
    record = json.loads(
        (prepare_release(made, tmp_path / "out", **STATED).path / "versions.json").read_text("utf-8")
    )
    assert record["git"] == made_at
    assert made_at["changed"] is False
    assert record["run"] == made.manifest.versions
    assert {"python", "torch", "transformers", "chatdoctor-hub", "jinja2"} <= set(record["release"])
    assert "pytest" not in locked_versions()


def of_corpus(other_run: Callable[[], RunFolder], folder: Path, record: dict[str, Any]) -> RunFolder:
    """A run whose recipe says that its data are a corpus folder with this record."""
    run = other_run()
    folder.mkdir()
    (folder / "corpus.json").write_text(json.dumps(record), "utf-8")
    made = json.loads((run.path / "run.json").read_text("utf-8"))
    made["recipe"]["data"] = [{"path": str(folder)}]
    (run.path / "run.json").write_text(json.dumps(made), "utf-8")
    return RunFolder(run.path)


def test_what_a_corpus_says_of_itself_stands_in_the_card_of_its_model(
    other_run: Callable[[], RunFolder], tmp_path: Path
) -> None:
    texts = {"description": "Made up.", "consent": "not needed.", "deidentification": "nobody is in it."}
    record = {"sources": ["a grammar"], "licence": "mit", "extra": texts}
    run = of_corpus(other_run, tmp_path / "corpus", record)
    card = card_of(prepare_release(run, tmp_path / "out", base_license="mit"))
    assert "Made up." in card
    assert "Consent: not needed." in card
    assert "De-identification: nobody is in it." in card
    assert "| a grammar | mit |" in card
    other = card_of(
        prepare_release(run, tmp_path / "other", base_license="mit", corpus={"consent": "all agreed."})
    )
    assert "Consent: all agreed." in other
    assert "Made up." in other


def test_an_accepted_licence_is_told_to_readers_in_their_words(run: RunFolder, tmp_path: Path) -> None:
    card = card_of(prepare_release(run, tmp_path / "out", accept_licences=True, base_license="my own"))
    assert "**The licence of dialogues.jsonl is not stated.** Released in spite of it" in card
    assert "**The licence of the base model is stated as 'my own', which is none that is known.**" in card
    assert "expected" not in card


@pytest.mark.parametrize("name", ["two\nlines", " padded", "tab\t", "n" * 97])
def test_a_name_of_more_than_a_line(name: str, run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ReleaseFormatError, match="name: expected one line of at most 96 characters"):
        prepare_release(run, tmp_path / "out", name=name, **STATED)
    assert list(tmp_path.iterdir()) == []


def test_what_rounding_costs_stands_in_the_card(run: RunFolder, tmp_path: Path) -> None:
    from chatdoctor_hub.release import render_card

    manifest = prepare_release(run, tmp_path / "out", merge=True, **STATED).manifest
    assert "times what the tuning changes." in render_card(manifest)
    report = json.loads(json.dumps(manifest.export["report"]))
    report["saved"]["update"], report["note"] = 84.0, "Rounding to bfloat16 changes the logits."
    changed = manifest.model_copy(update={"export": {"as": "merged", "report": report}})
    card = render_card(changed)
    assert "which is 84 times what the tuning changes. Rounding to bfloat16 changes the logits." in card


def edited(release: ReleaseFolder, *changes: tuple[str, str]) -> None:
    file = release.path / "README.md"
    text = file.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, "utf-8")


def test_what_people_wrote_survives_a_second_release(run: RunFolder, tmp_path: Path) -> None:
    first = prepare_release(run, tmp_path / "out", **STATED)
    edited(
        first,
        ("For people who build", "For the nurses of our ward and for people who build"),
        ("<!-- chatdoctor:end limitations -->", "<!-- chatdoctor:end limitations -->\n\nIt knows no Welsh."),
        (
            "pipeline_tag: text-generation",
            "pipeline_tag: text-generation\nextra_gated_prompt: Say who you are.",
        ),
        ("not measured", "splendid"),
    )
    second = prepare_release(run, tmp_path / "out", metrics=tiny_run.metrics(), name="renamed", **STATED)
    card = card_of(second)
    for kept in (
        "For the nurses of our ward",
        "It knows no Welsh.",
        "extra_gated_prompt: Say who you are.",
        "# renamed\n",
    ):
        assert kept in card
    assert "splendid" not in card
    assert "safety.png" in card
    check_folder(second.path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("For people who build", "It can diagnose flu. For people who build"),
            "section 'Intended use', line .*diagnos",
        ),
        (("## Intended use", "## Use"), "expected the section 'Intended use'"),
        (("For people who build", "TODO"), "section 'Intended use', line .*placeholder"),
        (("<!-- chatdoctor:end data -->", ""), "marks whole"),
        (("tags:", "summary: CE-marked\ntags:"), "header field 'summary'"),
    ],
)
def test_an_edit_that_must_not_be_stops_the_release_and_is_kept(
    change: tuple[str, str], said: str, run: RunFolder, tmp_path: Path
) -> None:
    first = prepare_release(run, tmp_path / "out", **STATED)
    edited(first, change)
    before = card_of(first)
    with pytest.raises(ReleaseFormatError, match=said):
        prepare_release(run, tmp_path / "out", **STATED)
    with pytest.raises(
        ReleaseFormatError, match=said.replace("marks whole", "without its end|within the block")
    ):
        check_folder(first.path)
    assert card_of(first) == before
    assert load_manifest(first.path)


def test_a_card_with_another_licence_is_found(copied: Callable[[], Path]) -> None:
    folder = copied()
    edited(ReleaseFolder(folder), ("license: apache-2.0", "license: mit"))
    with pytest.raises(ReleaseFormatError, match=r"'license': expected apache-2\.0"):
        check_folder(folder)


def test_a_folder_that_is_neither(tmp_path: Path) -> None:
    with pytest.raises(ReleaseNotFoundError, match="expected a release"):
        check_folder(tmp_path)


def corpus_in(folder: Path, **options: Any) -> Corpus:
    options = {"sources": ["a"], "licence": "cc-by-4.0", **options}
    return Corpus.write(folder, split(tiny_run.dialogues()), seed=0, repairs={}, problems=(), **options)


def test_a_corpus_is_checked_too(tmp_path: Path) -> None:
    corpus = corpus_in(tmp_path / "c", extra={"contact": "doctors@example.org"})
    check_folder(corpus.path)
    assert public_obstacles(corpus.path) == ()
    assert "doctors@example.org" in (corpus.path / "README.md").read_text("utf-8")
    card = corpus.path / "README.md"
    card.write_text(card.read_text("utf-8").replace("## Intended use", "## Use"), "utf-8")
    with pytest.raises(ReleaseFormatError, match="expected the section 'Intended use'"):
        check_folder(corpus.path)
    with pytest.raises(ReleaseFormatError, match="extra, description: expected no placeholder"):
        check_folder(corpus_in(tmp_path / "d", extra={"description": "TODO"}).path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"licence": "unknown"}, "licence: expected a known licence of the corpus, found 'unknown'"),
        (
            {"sources": [{"name": "a", "licence": "cc-by-sa-4.0"}]},
            "data: the licence of a: .*asks for cc-by-sa-4.0",
        ),
        (
            {"sources": [{"name": "a", "licence": "none given; check before use"}]},
            "data: the licence of a: .*none given",
        ),
        ({"licence": "cc-by-nc-4.0"}, "forbids commercial use"),
    ],
)
def test_what_speaks_against_a_public_corpus(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    import re

    found = public_obstacles(corpus_in(tmp_path / "c", **options).path)
    assert any(re.search(said, one) for one in found), found


def test_an_unknown_licence_of_a_corpus_is_told_once(tmp_path: Path) -> None:
    (said,) = public_obstacles(corpus_in(tmp_path / "c", licence="unknown").path)
    assert said.startswith("licence: ")


def test_a_corpus_made_again_keeps_what_people_wrote(tmp_path: Path) -> None:
    card = corpus_in(tmp_path / "c").path / "README.md"
    card.write_text(
        card.read_text("utf-8")
        .replace("Tuning and studying", "Teaching, tuning and studying")
        .replace("| train | 2", "| train | 9"),
        "utf-8",
    )
    again = corpus_in(tmp_path / "c", licence="mit")
    text = card.read_text("utf-8")
    assert "Teaching, tuning and studying" in text
    assert "license: mit" in text
    assert "| train | 9" not in text
    assert Corpus.open(again.path) == again
    card.write_text(card.read_text("utf-8").replace("chatdoctor:end sources", "x"), "utf-8")
    with pytest.raises(DataFormatError, match="marks whole"):
        corpus_in(tmp_path / "c")
    assert Corpus.open(again.path) == again


@pytest.mark.parametrize("made", ["release", "corpus"])
def test_a_figure_made_up_in_a_generated_block_is_found(
    made: str, copied: Callable[[], Path], tmp_path: Path
) -> None:
    folder = copied() if made == "release" else corpus_in(tmp_path / "c").path
    check_folder(folder)
    edited(
        ReleaseFolder(folder),
        ("2/30 = 6.7 %", "0/30 = 0.0 %") if made == "release" else ("| train | 2", "| train | 9"),
    )
    with pytest.raises(ReleaseFormatError, match=r"block '[\w-]+', line \d+: expected what the records say"):
        check_folder(folder)


def test_a_base_of_this_machine_is_told_by_its_name_alone(run: RunFolder, tmp_path: Path) -> None:
    card = card_of(prepare_release(run, tmp_path / "out", **STATED))
    assert str(Path(run.manifest.base.path).parent) not in card
    assert "`base`" in card


def test_the_languages_of_the_data_stand_in_the_header(run: RunFolder, tmp_path: Path) -> None:
    release = prepare_release(run, tmp_path / "out", corpus={"languages": ["zh", "en"]}, **STATED)
    assert ModelCard.load(release.path / "README.md").data.language == ["zh", "en"]


def test_the_same_entries_without_the_hubs_own_classes(
    release: ReleaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    from types import ModuleType

    from chatdoctor_hub.release.evaluation import write_eval_results

    monkeypatch.setitem(sys.modules, "huggingface_hub", ModuleType("huggingface_hub"))
    write_eval_results(release.manifest, tmp_path)
    for file in (release.path / ".eval_results").iterdir():
        assert (tmp_path / ".eval_results" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("prompt", ["math@1", "chat:vanilla", "text:vanilla -> chat:llama"])
def test_pairs_without_a_safety_prompt_or_of_other_shapes(
    prompt: str, run: RunFolder, tmp_path: Path
) -> None:
    recipe = run.manifest.recipe
    settings = tiny_run.SETTINGS.model_copy(update={"max_steps": 1})
    made = fine_tune(
        RecipeConfig(
            base=recipe.base, data=recipe.data, output=tmp_path / "run", prompt=prompt, training=settings
        )
    )
    release = prepare_release(made, tmp_path / "out", **STATED)
    pair, card = release.manifest.prompt_pair, card_of(release)
    assert ("**No safety prompt.**" in card) is not bool(pair.safety)
    assert ("served with one" in card) is bool(pair.safety)
    check_folder(release.path)

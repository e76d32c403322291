"""`chatdoctor release`: from the output of `chatdoctor train` to a release, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from chatdoctor_hub.cli.app import app
from chatdoctor_hub.corpus import Corpus, split
from chatdoctor_hub.release import check_folder, load_manifest
from chatdoctor_hub.training import RunFolder

STATED = ("--base-license", "apache-2.0", "--data-license", "cc0-1.0")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments], env={"COLUMNS": "200"})


def refused(ended: Result, *parts: str) -> None:
    """One sentence that says what was expected and found, and all the given parts."""
    assert ended.exit_code == 2, (ended.stdout, ended.stderr)
    (said,) = ended.stderr.splitlines()
    assert said.startswith("chatdoctor: ")
    for part in ("xpected", "found", *parts):
        assert part in said, said


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Not to be changed."""
    pytest.importorskip("peft")
    import tiny_run

    return tiny_run.make_run(tmp_path_factory.mktemp("release-cli"))


def test_from_corpus_to_release_with_the_command_line_alone(run: RunFolder, tmp_path: Path) -> None:
    import tiny_run

    corpus = Corpus.write(
        tmp_path / "corpus",
        split(tiny_run.dialogues()),
        seed=0,
        sources=["our ward"],
        repairs={},
        problems=(),
        licence="cc-by-4.0",
    )
    quick = [
        "training.max_steps=2",
        "training.batch_size=8",
        "training.workers=1",
        "training.precision=float32",
    ]
    settings = [part for setting in quick for part in ("--set", setting)]
    base = run.manifest.base.path
    ended = call(
        "train", "default", "--base", base, "--data", corpus.path, "--output", tmp_path / "mine", *settings
    )
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    out = tmp_path / "release"
    given = ("release", tmp_path / "mine", "--license", "apache-2.0", "--out", out)
    refused(call(*given), "base_license: ", "--base-license")
    ended = call(*given, "--base-license", "mit")
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    check_folder(out)
    manifest = load_manifest(out)
    assert manifest.metrics == {}
    assert [(one["name"], one["licence"]) for one in manifest.corpus["sources"]] == [
        ("our ward", "cc-by-4.0")
    ]
    assert "Not measured, as the card says: attack success, over-refusal, perplexity." in ended.stdout
    assert "adapter_model.safetensors" in ended.stdout
    assert ended.stdout.splitlines()[-1] == f"Next: chatdoctor publish {out} YOUR-NAME/release --dry-run"


def test_measurements_names_and_terms_are_taken(run: RunFolder, tmp_path: Path) -> None:
    import tiny_run

    (tmp_path / "m.json").write_text(json.dumps(tiny_run.metrics()), "utf-8")
    (tmp_path / "about.yaml").write_text("description: From our ward.\nconsent: all agreed.\n", "utf-8")
    ended = call(
        "release", run.path, "--license", "other", "--license-name", "ward-terms", "--out", tmp_path / "out",
        "--metrics", tmp_path / "m.json", "--corpus", tmp_path / "about.yaml", "--name", "ward",
        "--contact", "doctors@example.org", "--merge", *STATED,
    )  # fmt: skip
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    for part in (
        "# ward\n",
        "ward-terms",
        "From our ward.",
        "all agreed.",
        "doctors@example.org",
        "safety.png",
    ):
        assert part in card
    assert load_manifest(tmp_path / "out").weights == "model"
    assert "Not measured" not in ended.stdout


def test_a_second_release_tells_of_the_files_that_it_kept(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("release", run.path, "--license", "mit", "--out", out, "--name", "Tiny -- Doctor!", *STATED)
    ended = call(*given)
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    assert "kept as they were" not in ended.stdout
    assert "Only here: the base " in ended.stdout
    assert ended.stdout.splitlines()[-1].endswith(" YOUR-NAME/Tiny-Doctor --dry-run")
    (out / "LICENSE").write_text("mine", "utf-8")
    ended = call(*given)
    assert "Not the release's, and kept as they were: LICENSE." in ended.stdout
    assert (out / "LICENSE").read_text("utf-8") == "mine"


def test_bad_input(run: RunFolder, tmp_path: Path) -> None:
    out = ("--license", "apache-2.0", "--out", tmp_path / "out")
    (tmp_path / "list.json").write_text("[1]", "utf-8")
    (tmp_path / "broken.json").write_text("{", "utf-8")
    refused(call("release", tmp_path, *out, *STATED), "run.json")
    refused(call("release", run.path, "--license", "apahce", "--out", tmp_path / "out", *STATED), "license: ")
    refused(call("release", run.path, *out), "base_license: ", "data: the licence of dialogues.jsonl")
    refused(call("release", run.path, *out, *STATED, "--as-lora"), "a lora adapter")
    refused(call("release", run.path, *out, *STATED, "--merge", "--include-base"), "merge alone")
    refused(call("release", run.path, *out, *STATED, "--name", "TBD"), "name: ", "'TBD'")
    refused(call("release", run.path, *out, *STATED, "--metrics", tmp_path / "none.json"), "no readable file")
    refused(call("release", run.path, *out, *STATED, "--metrics", tmp_path / "broken.json"), "JSON")
    refused(call("release", run.path, *out, *STATED, "--metrics", tmp_path / "list.json"), "list")
    refused(call("release", run.path, *out, *STATED, "--corpus", tmp_path / "none.yaml"), "none.yaml")
    refused(call("release", run.path, *out, *STATED, "--corpus", tmp_path / "list.json"), "a mapping")
    refused(call("release", run.path, *out, *STATED, "--corpus", tmp_path / "broken.json"), "JSON or YAML")
    assert not (tmp_path / "out").exists()
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").touch()
    refused(call("release", run.path, "--license", "mit", "--out", taken, *STATED), "an older release")
    ended = call("release", run.path)
    assert ended.exit_code == 2
    assert "--out" in ended.stderr


def test_accepted_licences_are_told(run: RunFolder, tmp_path: Path) -> None:
    ended = call("release", run.path, "--license", "mit", "--out", tmp_path / "out", "--accept-licences")
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    assert "Speaks against making it public: base_license: " in ended.stdout

"""What speaks against uploading a folder: what its record does not list, people in words, a base nobody else has."""

from __future__ import annotations

import gzip
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chatdoctor_hub.errors import PublishError
from chatdoctor_hub.hub.concerns import Concern, find_concerns
from chatdoctor_hub.hub.contents import read_contents

TOKEN = "hf_" + "aB3" * 11 + "x"
PATIENT = "Patient, born 03/04/1971, phone 415-555-0132, MRN 123456, said: my chest hurts."


def concerns(folder: Path) -> list[Concern]:
    return list(find_concerns(read_contents(folder)))


def of(folder: Path, path: str) -> Concern:
    """The one concern about a file."""
    (found,) = [concern for concern in concerns(folder) if concern.where == path]
    return found


def archive(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("train.csv", PATIENT)


@pytest.mark.parametrize(
    ("name", "write", "why"),
    [
        ("patients.json", lambda file: file.write_text(f'["{PATIENT}"]'), "patients' words"),
        ("patients.html", lambda file: file.write_text(PATIENT), "patients' words"),
        ("w.zip", archive, "an archive"),
        ("w.gz", lambda file: file.write_bytes(gzip.compress(pickle.dumps([TOKEN]))), "an archive"),
        ("modeling_x.py", lambda file: file.write_text("import os"), "others would run it"),
        ("more.safetensors", lambda file: file.write_bytes(b"\2\0\0\0\0\0\0\0{}"), "neither a document"),
        ("patients", lambda file: file.write_text(PATIENT), "neither a document"),
        ("long.txt", lambda file: file.write_text("word " * 100_000), "not a document in UTF-8"),
        ("wide.txt", lambda file: file.write_text("words", encoding="utf-16"), "not a document in UTF-8"),
    ],
)
def test_what_no_record_lists_and_nobody_can_look_through_stays_here(
    slim: Path, name: str, write: Callable[[Path], object], why: str
) -> None:
    write(slim / name)
    found = of(slim, name)
    assert found.weight == "refused"
    assert why in found.what
    assert "remove it" in found.what


def test_in_a_corpus_too(corpus: Path) -> None:
    (corpus / "data" / "raw.json").write_text("[]")
    assert of(corpus, "data/raw.json").weight == "refused"


def test_documents_are_searched_for_people(slim: Path) -> None:
    pytest.importorskip("presidio_analyzer")
    (slim / "LICENSE").write_text("Copyright Jane Roe, jane@example.org")
    (slim / "THANKS.md").write_text("To all who helped; see https://example.org.")
    (slim / "case.txt").write_text(PATIENT)
    told = concerns(slim)
    (note,) = [concern for concern in told if concern.kind == "strangers"]
    assert (note.weight, note.what) == (
        "note",
        "not listed in the record, and going up: THANKS.md, case.txt",
    )
    (found,) = [concern for concern in told if concern.kind == "identifiers"]
    assert (found.where, found.weight) == ("case.txt", "public")
    assert "1 phone" in found.what
    assert "415" not in json.dumps(found.to_record())


@pytest.mark.parametrize("kind", ["slim", "corpus"])
def test_what_people_wrote_into_a_card_is_searched(kind: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("presidio_analyzer")
    folder = request.getfixturevalue(kind)
    before = [concern for concern in concerns(folder) if concern.where == "README.md"]
    assert before == []  # what is generated names links, a contact and dates, and is no concern
    with (folder / "README.md").open("a", encoding="utf-8") as card:
        card.write(f"\n## Example\n\n{PATIENT}\n")
    found = of(folder, "README.md")
    assert (found.kind, found.weight) == ("identifiers", "public")
    assert "1 date" in found.what
    assert "1 record_number" in found.what


def test_words_that_nobody_can_search_are_not_public(slim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    assert not [concern for concern in concerns(slim) if concern.kind == "identifiers"]
    (slim / "THANKS.md").write_text("To all who helped.")
    assert (of(slim, "THANKS.md").weight, "not looked for" in of(slim, "THANKS.md").what) == ("public", True)


def test_pictures_are_for_eyes(slim: Path) -> None:
    (slim / "rash.png").write_bytes(b"\x89PNG\r\n")
    assert (of(slim, "rash.png").kind, of(slim, "rash.png").weight) == ("pictures", "public")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_any_protocol_is_one_by_its_content(slim: Path, protocol: int) -> None:
    (slim / "notes.txt").write_bytes(pickle.dumps({"a": [1, "b"]}, protocol=protocol))
    found = of(slim, "notes.txt")
    assert (found.kind, found.what[:23]) == ("pickles", "a pickle by its content")


@pytest.mark.parametrize("text", ["", ".", "N.", "I am well.", "The end.\n", "]", "0.5", "(none).\n"])
def test_prose_is_no_pickle(slim: Path, text: str) -> None:
    (slim / "notes.txt").write_text(text)
    kinds = {concern.kind for concern in concerns(slim)}
    assert ("pickles" in kinds) == (text == "N.")  # which is the pickle of None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_tokens_in_any_encoding(slim: Path, encoding: str) -> None:
    (slim / "notes.txt").write_text(f"token: {TOKEN}\n", encoding=encoding)
    found = of(slim, "notes.txt")
    assert (found.kind, found.weight) == ("secrets", "refused")
    assert TOKEN not in found.what


def test_a_licence_that_nobody_knows_is_told_once(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from chatdoctor_hub.corpus import split
    from chatdoctor_hub.corpus.folder import Corpus
    from chatdoctor_hub.dialogue import Dialogue

    words = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    talks = [Dialogue.from_messages([{**words[0], "content": f"Why {n}?"}, words[1]]) for n in range(20)]
    record = {"seed": 0, "sources": [{"name": "a"}], "repairs": {}, "problems": ()}
    folder = Corpus.write(tmp_path / "c", split(talks), licence="unknown", **record).path
    told = [concern for concern in concerns(folder) if concern.kind == "licences"]
    assert len(told) == 1
    assert "expected a known licence of the corpus" in told[0].what


def change(folder: Path, **base: str) -> None:
    """The manifest of an adapter of another base, and the card that it makes."""
    from chatdoctor_hub.release import Manifest, render_card

    made = Manifest.model_validate_json((folder / "chatdoctor.json").read_text(encoding="utf-8"))
    made = made.model_copy(
        update={"weights": "adapter", "base": made.base.model_copy(update=base), "export": {}}
    )
    (folder / "chatdoctor.json").write_text(made.model_dump_json(), encoding="utf-8")
    (folder / "README.md").write_text(render_card(made), encoding="utf-8")


def test_an_adapter_of_a_base_that_only_this_machine_has(slim: Path) -> None:
    assert "base" not in {concern.kind for concern in concerns(slim)}
    change(slim, id="/home/me/secret-place/llama", revision="")
    (found,) = [concern for concern in concerns(slim) if concern.kind == "base"]
    assert found.weight == "public"
    assert "llama" in found.what
    assert "secret-place" not in found.what
    assert "--merge" in found.what
    change(slim, id="org/llama", revision="0" * 40)
    assert "base" not in {concern.kind for concern in concerns(slim)}


def test_a_release_that_holds_its_weights_needs_no_base(release: Path) -> None:
    assert "base" not in {concern.kind for concern in concerns(release)}


def test_a_file_that_is_not_as_it_was_recorded(release: Path) -> None:
    (release / "recipe.yaml").write_text(f"note: {PATIENT}")
    with pytest.raises(PublishError, match=r"found others as recipe\.yaml; make or fetch"):
        read_contents(release)


def test_the_folder_of_a_run_is_told_what_comes_first(made_release: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(PublishError, match=r"the folder of a tuning run; .*chatdoctor release .*--license"):
        read_contents(tmp_path)
    (tmp_path / "run.json").unlink()
    (tmp_path / "release").symlink_to(made_release)
    with pytest.raises(PublishError, match=r"a release in it; publish .*release"):
        read_contents(tmp_path)

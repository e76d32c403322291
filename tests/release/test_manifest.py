"""`load_manifest`: a release that is not what its records say is not loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.errors import PromptDigestError, ReleaseError, ReleaseFormatError, ReleaseNotFoundError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.release import Manifest, ReleaseFolder, load_manifest

PAIR = PromptPair.load("chatdoctor@1")
Copied = Callable[[], Path]


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Edit the manifest's JSON in place."""
    file = folder / "chatdoctor.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    edit(record)
    file.write_text(json.dumps(record), encoding="utf-8")
    return folder


def refused(folder: Path, kind: type[Exception], *parts: str) -> None:
    """Loading raises one sentence with all these parts, the file's name first among them."""
    with pytest.raises(kind) as caught:
        load_manifest(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{folder}/{parts[0]}: expected ")
    for part in parts:
        assert part in said
    assert "found" in said


def test_what_was_written_is_read(release: ReleaseFolder) -> None:
    made = load_manifest(release.path)
    assert made == load_manifest(str(release.path)) == release.manifest
    assert made.prompt_pair == PAIR
    text = (release.path / "chatdoctor.json").read_text(encoding="utf-8")
    assert Manifest.model_validate_json(text) == made


@pytest.mark.parametrize("field", ["safety", "instruction", "layout", "id", "source"])
def test_a_changed_prompt(field: str, copied: Copied) -> None:
    folder = change(copied(), lambda record: record["prompt"].update({field: "Obey."}))
    refused(folder, PromptDigestError, "chatdoctor.json", "sha256")


@pytest.mark.parametrize("form", ["training", "serving"])
@pytest.mark.parametrize("field", ["text", "sha256"])
def test_a_changed_form_or_digest(form: str, field: str, copied: Copied) -> None:
    folder = change(copied(), lambda record: record["prompt"][form].update({field: "0" * 64}))
    refused(folder, PromptDigestError, "chatdoctor.json", f"the {form} form of prompt chatdoctor@1")


def test_a_prompt_changed_together_with_its_digests(copied: Copied) -> None:
    """The chat template still carries the old one."""
    other = PromptPair(PAIR.id, PAIR.instruction, "Obey.", PAIR.layout, PAIR.source)
    folder = change(copied(), lambda record: record.update(prompt=other.to_record()))
    refused(folder, PromptDigestError, "chat_template.jinja", "safety prompt of chatdoctor@1")


@pytest.mark.parametrize("gap", ["serving", "training", "safety", "id", "layout"])
def test_a_prompt_with_a_gap(gap: str, copied: Copied) -> None:
    folder = change(copied(), lambda record: record["prompt"].pop(gap))
    refused(folder, PromptDigestError, "chatdoctor.json", gap)


@pytest.mark.parametrize("name", ["chat_template.jinja", "additional_chat_templates/training.jinja"])
def test_a_changed_template(name: str, copied: Copied) -> None:
    folder = copied()
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(" ")
    refused(folder, PromptDigestError, name, "it was changed after the release was made")


def test_a_template_without_the_safety_prompt_is_refused_even_with_its_digest(copied: Copied) -> None:
    folder = copied()
    plain = (folder / "additional_chat_templates" / "training.jinja").read_bytes()
    (folder / "chat_template.jinja").write_bytes(plain)
    digest = hashlib.sha256(plain).hexdigest()
    change(folder, lambda record: record["files"].update({"chat_template.jinja": digest}))
    refused(folder, PromptDigestError, "chat_template.jinja", "expected the safety prompt")


def test_a_training_template_with_the_safety_prompt_is_refused_even_with_its_digest(copied: Copied) -> None:
    folder, name = copied(), "additional_chat_templates/training.jinja"
    baked = (folder / "chat_template.jinja").read_bytes()
    (folder / name).write_bytes(baked)
    change(folder, lambda record: record["files"].update({name: hashlib.sha256(baked).hexdigest()}))
    refused(folder, PromptDigestError, name, "expected no safety prompt")


@pytest.mark.parametrize(
    "name",
    [
        "chat_template.jinja",
        "additional_chat_templates/training.jinja",
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "base/model.safetensors",
        "base/config.json",
    ],
)
def test_a_file_that_is_missing(name: str, copied: Copied) -> None:
    folder = copied()
    (folder / name).unlink()
    refused(folder, ReleaseFormatError, name)


@pytest.mark.parametrize(
    "name",
    [
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ],
)
def test_a_file_that_was_changed_or_is_torn(name: str, copied: Copied) -> None:
    folder = copied()
    data = (folder / name).read_bytes()
    for content in (data[:-1] + bytes([data[-1] ^ 1]), data[: len(data) // 2], b""):
        (folder / name).write_bytes(content)
        refused(folder, ReleaseFormatError, name, "it was damaged or changed")


@pytest.mark.parametrize("name", ["loss.png", "README.md", "recipe.yaml"])
def test_what_the_hub_client_does_not_fetch_may_be_missing(name: str, copied: Copied) -> None:
    folder = copied()
    (folder / name).unlink()
    assert load_manifest(folder).name == "tiny-doctor"


def test_a_template_that_is_no_text(copied: Copied) -> None:
    folder = copied()
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe")
    refused(folder, ReleaseFormatError, "chat_template.jinja")


def test_a_schema_of_the_future_is_told_so_whatever_else_is_new(copied: Copied) -> None:
    folder = change(copied(), lambda record: record.update(schema_version=2, signature="new", name=["new"]))
    refused(folder, ReleaseFormatError, "chatdoctor.json", "schema version 1, found 2; update chatdoctor-hub")


def test_a_schema_that_never_was(copied: Copied) -> None:
    refused(
        change(copied(), lambda record: record.update(schema_version=0)),
        ReleaseFormatError,
        "chatdoctor.json",
        "schema version 1, found 0",
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "the file"),
        (b"{", "the file"),
        (b"[]", "the file"),
        (b"null", "the file"),
        (b"{}", "schema_version"),
        (b'{"schema_version": "x"}', "schema_version"),
        (b'{"schema_version": 1}', "name"),
        (b"\xff\xfe{}", "UTF-8"),
    ],
)
def test_garbage(content: bytes, fault: str, copied: Copied) -> None:
    folder = copied()
    (folder / "chatdoctor.json").write_bytes(content)
    refused(folder, ReleaseFormatError, "chatdoctor.json", fault)


@pytest.mark.parametrize("field", ["base", "metrics", "files", "versions"])
def test_a_field_that_is_missing_or_of_another_kind(field: str, copied: Copied) -> None:
    folder = copied()
    refused(
        change(folder, lambda record: record.update({field: "x"})),
        ReleaseFormatError,
        "chatdoctor.json",
        field,
    )
    refused(change(folder, lambda record: record.pop(field)), ReleaseFormatError, "chatdoctor.json", field)


def test_a_field_that_nobody_knows(copied: Copied) -> None:
    refused(
        change(copied(), lambda record: record.update(extra=1)),
        ReleaseFormatError,
        "chatdoctor.json",
        "extra",
    )


@pytest.mark.parametrize("kind", ["empty folder", "no folder", "file"])
def test_what_is_no_release(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if kind == "empty folder":
        place.mkdir()
    elif kind == "file":
        place.touch()
    with pytest.raises(ReleaseNotFoundError) as caught:
        load_manifest(place)
    assert str(caught.value).startswith(
        f"{place}: expected a release folder with chatdoctor.json, found none;"
    )
    assert isinstance(caught.value, (ReleaseError, FileNotFoundError))

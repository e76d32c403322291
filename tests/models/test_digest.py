"""A model's digest: of what it holds, not of where it lies."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chatdoctor_hub.models import digest_of


def test_the_place_does_not_matter_the_content_does(model_folder: Path, tmp_path: Path) -> None:
    here = digest_of(model_folder)
    assert len(here) == 64
    copy = shutil.copytree(model_folder, tmp_path / "elsewhere" / "renamed")
    for file in copy.iterdir():
        os.utime(file, (1, 1))
    assert digest_of(copy) == here
    assert digest_of(Path(os.path.relpath(copy))) == here


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"]
)
def test_a_changed_missing_or_renamed_file_changes_it(name: str, model_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    found = {digest_of(copy)}
    file = copy / name
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found.add(digest_of(copy))
    file.rename(copy / f"other-{name}")
    found.add(digest_of(copy))
    (copy / f"other-{name}").unlink()
    found.add(digest_of(copy))
    # A renamed config is as good as none; renamed weights are still weights.
    assert len(found) == (4 if name.endswith(".safetensors") else 3)


def test_what_is_no_part_of_the_model_does_not_matter(model_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    (copy / "README.md").write_text("A card.", encoding="utf-8")
    (copy / "notes").mkdir()
    assert digest_of(copy) == digest_of(model_folder)


def test_contents_cannot_be_swapped_between_files(tmp_path: Path) -> None:
    for folder, first, second in (("one", b"a", b"b"), ("two", b"b", b"a")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model-1.safetensors").write_bytes(first)
        (tmp_path / folder / "model-2.safetensors").write_bytes(second)
    assert digest_of(tmp_path / "one") != digest_of(tmp_path / "two")


def test_in_the_hubs_cache_it_is_the_same(model_folder: Path, cached: Callable[[str, Path], Path]) -> None:
    snapshot = cached("org/tiny", model_folder)
    assert (snapshot / "model.safetensors").is_symlink()
    assert digest_of(snapshot) == digest_of(model_folder)


def test_the_hubs_sha256_is_taken_as_it_stands_and_read_from_nowhere_else(
    model_folder: Path, tmp_path: Path
) -> None:
    """A blob's name counts only behind a link of the cache, never for a plain file that is so called."""
    name = hashlib.sha256(b"something else").hexdigest()
    plain, linked = tmp_path / "plain", tmp_path / "linked"
    for folder in (plain, linked):
        folder.mkdir()
    (tmp_path / name).write_bytes(b"weights")
    (plain / "model.safetensors").write_bytes(b"weights")
    (linked / "model.safetensors").symlink_to(tmp_path / name)
    assert digest_of(plain) != digest_of(linked)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "weights.bin").write_bytes(b"weights")
    (other / "model.safetensors").symlink_to(tmp_path / "weights.bin")
    assert digest_of(other) == digest_of(plain)

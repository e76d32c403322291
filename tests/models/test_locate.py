"""Where models are found, and what is said when they are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatdoctor_hub.errors import ModelFormatError, ModelNotFoundError
from chatdoctor_hub.models import is_adapter, is_release, locate
from chatdoctor_hub.models.locate import MODEL_FILES, fingerprint


def test_a_folder_is_found_however_it_is_written(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(model_folder) == model_folder
    assert locate(str(model_folder)) == model_folder
    monkeypatch.chdir(model_folder.parent)
    assert locate(model_folder.name).resolve() == model_folder.resolve()
    monkeypatch.setenv("HOME", str(model_folder.parent))
    assert locate(f"~/{model_folder.name}") == model_folder


def test_a_hub_id_is_found_in_the_cache_without_a_network(
    model_folder: Path, cached: Callable[[str, Path], Path]
) -> None:
    snapshot = cached("org/tiny", model_folder)
    assert locate("org/tiny") == snapshot
    assert locate("org/tiny", "main", download=False) == snapshot


def test_a_cached_repository_without_a_model_is_told_so(
    tmp_path: Path, cached: Callable[[str, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "rows.json").write_text("[]", encoding="utf-8")
    cached("org/data", folder)
    with pytest.raises(ModelNotFoundError, match=r"org/data: .*HF_HUB_OFFLINE is set"):
        locate("org/data")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelNotFoundError, match=r"org/data: .*holds no model"):
        locate("org/data", download=False)


def test_an_unknown_id_offline_says_that_it_is_offline(cached: Callable[[str, Path], Path]) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        locate("org/unknown")
    said = str(caught.value)
    assert said.startswith("org/unknown: expected a model's folder or the id of a model on the Hub, found no")
    assert "HF_HUB_OFFLINE is set" in said
    assert "\n" not in said
    with pytest.raises(ModelNotFoundError, match="org/unknown"):
        locate("org/unknown", download=False)


def test_a_hub_that_cannot_be_reached_is_told_so(
    cached: Callable[[str, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets are off in the tests: as on a machine without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelNotFoundError, match=r"org/unknown: .*check the name, or the network"):
        locate("org/unknown")


@pytest.mark.parametrize("name", ["", "/no/such/folder", "./gone", "a/b/c", "org/na me", "../gone", "-x/y"])
def test_what_can_be_no_id_is_not_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked the Hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    with pytest.raises(ModelNotFoundError, match="found no such folder"):
        locate(name)


def test_a_file_is_no_model(model_folder: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"config\.json: expected a folder with a model, found a file"):
        locate(model_folder / "config.json")


def test_no_pickle_is_ever_asked_for() -> None:
    from fnmatch import fnmatch

    for name in ("pytorch_model.bin", "model.pt", "model.pth", "weights.pkl", "model.ckpt", "code.py"):
        assert not any(fnmatch(name, pattern) for pattern in MODEL_FILES)


def test_kinds_of_folders(tmp_path: Path) -> None:
    assert not is_release(tmp_path)
    assert not is_adapter(tmp_path)
    (tmp_path / "chatdoctor.json").touch()
    (tmp_path / "adapter_config.json").touch()
    assert is_release(tmp_path)
    assert is_adapter(tmp_path)


def test_a_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    (tmp_path / "notes.md").touch()
    assert fingerprint(tmp_path) == first
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"1")
    assert fingerprint(tmp_path) != first

"""The stand-in Hub for the tests of this room, in LFS mode and in Xet mode."""

from __future__ import annotations

import functools
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "hub_stand_in"))

from stand_in_hub import StandInHub


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and tokens of this process in a folder of the test: huggingface_hub read their places at import."""
    home = tmp_path / "home"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub tries again at once where it would wait for seconds.

    It makes a new client after each connection that it did not get, and a client reads all certificate authorities,
    which nobody asks for here.
    """
    from huggingface_hub.utils import _http

    monkeypatch.setattr("ssl.SSLContext.load_verify_locations", lambda *places, **more: None)
    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))


def _served(root: Path, xet: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", not xet)
    with StandInHub(root / "hub_stand_in", xet=xet) as hub:
        yield hub
        hub.check()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A hub where large files go through LFS."""
    yield from _served(tmp_path, False, monkeypatch)


@pytest.fixture(params=["lfs", "xet"])
def hub_in_both_modes(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandInHub]:
    """A hub where large files go through LFS, and one where they go through Xet."""
    if request.param == "xet":
        pytest.importorskip("hf_xet")
    yield from _served(tmp_path, request.param == "xet", monkeypatch)


# What is published


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of a tiny base, which lies beside it, as its data do; not to be changed."""
    pytest.importorskip("peft")
    sys.path.append(str(Path(__file__).resolve().parents[1] / "release"))
    import tiny_run

    return tiny_run.make_run(tmp_path_factory.mktemp("hub-release")).path


@pytest.fixture(scope="session")
def made_release(made_run: Path) -> Path:
    """The release of the run with its base inside; not to be changed."""
    import tiny_run

    return tiny_run.make_release(made_run, made_run.parent / "tiny-doctor", contact="me@example.org").path


@pytest.fixture
def release(made_release: Path, tmp_path: Path) -> Path:
    """A copy of the release to do as one likes with."""
    return Path(shutil.copytree(made_release, tmp_path / "tiny-doctor"))


@pytest.fixture(scope="session")
def made_slim(made_run: Path) -> Path:
    """A merged release with what it must have and nothing else; not to be changed."""
    import tiny_run

    from chatdoctor_hub.release import Manifest, render_card

    folder = made_run.parent / "slim"
    tiny_run.make_release(made_run, folder, include_base=False, merge=True, contact="me@example.org")
    made = Manifest.model_validate_json((folder / "chatdoctor.json").read_text(encoding="utf-8"))
    must = {"config.json", "model.safetensors", "chat_template.jinja", "tokenizer.json"}
    must |= {"additional_chat_templates/training.jinja", "tokenizer_config.json"}
    record = made.model_copy(
        update={"files": {name: digest for name, digest in made.files.items() if name in must}}
    )
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        if file.relative_to(folder).as_posix() not in must:
            file.unlink()
    (folder / "chatdoctor.json").write_text(record.model_dump_json(indent=2), encoding="utf-8")
    (folder / "README.md").write_text(render_card(record), encoding="utf-8")
    return folder


@pytest.fixture
def slim(made_slim: Path, tmp_path: Path) -> Path:
    """A copy of a small whole model, for proofs that publish it a hundred times."""
    return Path(shutil.copytree(made_slim, tmp_path / "slim"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A small corpus."""
    pytest.importorskip("pyarrow")
    from chatdoctor_hub.corpus import split
    from chatdoctor_hub.corpus.folder import Corpus
    from chatdoctor_hub.dialogue import Dialogue

    talks = [
        Dialogue.from_messages(
            [
                {"role": "user", "content": f"My {part} hurts since {days} days."},
                {"role": "assistant", "content": f"Rest the {part}, and see a doctor if it gets worse."},
            ]
        )
        for part in ("knee", "elbow", "ankle", "wrist")
        for days in (2, 3, 4)
    ]
    record = {
        "seed": 0,
        "sources": [{"name": "written", "licence": "cc0-1.0"}],
        "repairs": {},
        "problems": (),
    }
    return Corpus.write(tmp_path / "dialogues", split(talks), licence="cc0-1.0", **record).path


@pytest.fixture
def checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that does not change is checked once, for proofs that publish it a hundred times."""
    from chatdoctor_hub.release import check_folder

    monkeypatch.setattr("chatdoctor_hub.hub.contents.check_folder", functools.cache(check_folder))


@pytest.fixture
def at_once(impatient: None, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Our own waits are written down instead of waited for."""
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waited.append))
    hurried = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.file_download.time", hurried)
    return waited

"""`fetch`, and what can be done with what it fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in_hub import Fault, StandInHub

from chatdoctor_hub.errors import (
    DiskSpaceError,
    DownloadError,
    HubAccessError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
    PromptDigestError,
    ReleaseFormatError,
)
from chatdoctor_hub.hub import fetch, publish
from chatdoctor_hub.release import load_manifest
from full_disk import files_of_at_most


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


@pytest.fixture
def me(hub: StandInHub) -> dict[str, str]:
    return {"endpoint": hub.url, "token": hub.token("me")}


@pytest.fixture
def published(hub: StandInHub, me: dict[str, str], release: Path) -> str:
    return publish(release, "me/tiny", tag="v1", **me).commit


def test_to_a_folder(hub_in_both_modes: StandInHub, release: Path, tmp_path: Path) -> None:
    me = {"endpoint": hub_in_both_modes.url, "token": hub_in_both_modes.token("me")}
    publish(release, "me/tiny", tag="v1", **me)
    out = fetch("me/tiny", "v1", out=tmp_path / "out", **me)
    assert out == tmp_path / "out"
    assert bytes_of(out) == bytes_of(release)
    (release / "NOTICE").write_text("new")
    publish(release, "me/tiny", **me)
    assert bytes_of(fetch("me/tiny", out=out, **me)) == bytes_of(release)
    assert "NOTICE" not in bytes_of(fetch("me/tiny", "v1", out=out, **me))


def test_to_the_cache(hub: StandInHub, me: dict[str, str], published: str, release: Path) -> None:
    folder = fetch("me/tiny", "v1", **me)
    assert folder.name == published
    assert bytes_of(folder) == bytes_of(release)
    before = [path for _, path, _ in hub.requests if "/resolve/" in path or "/storage/" in path]
    assert fetch("me/tiny", "v1", **me) == folder
    assert [path for _, path, _ in hub.requests if "/resolve/" in path or "/storage/" in path] == before


def test_a_corpus(hub: StandInHub, me: dict[str, str], corpus: Path, tmp_path: Path) -> None:
    from chatdoctor_hub.corpus.folder import Corpus

    publish(corpus, "me/talks", **me)
    out = fetch("me/talks", out=tmp_path / "out", **me)
    assert Corpus.open(out).digest == Corpus.open(corpus).digest
    assert fetch("me/talks", type="dataset", **me).is_dir()


def test_offline_what_was_fetched_is_enough(
    hub: StandInHub, me: dict[str, str], published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch("me/tiny", "v1", **me)
    hub.stop()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch("me/tiny", "v1", **me) == folder
    with pytest.raises(HubUnreachableError, match="HF_HUB_OFFLINE"):
        fetch("me/other", **me)
    out = fetch("me/tiny", "v1", out=tmp_path / "out", **me)
    assert bytes_of(out) == bytes_of(folder)
    assert not any(file.is_symlink() for file in out.rglob("*"))
    with pytest.raises(HubUnreachableError, match="HF_HUB_OFFLINE"):
        fetch("me/tiny", "v2", out=tmp_path / "other", **me)
    assert not (tmp_path / "other").exists()


def test_a_damaged_file_in_the_cache_is_replaced(me: dict[str, str], published: str) -> None:
    folder = fetch("me/tiny", "v1", **me)
    whole = (folder / "adapter/adapter_model.safetensors").read_bytes()
    (folder / "adapter/adapter_model.safetensors").resolve().write_bytes(whole[:-1] + b"x")
    assert (fetch("me/tiny", "v1", **me) / "adapter/adapter_model.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    "path", ["adapter/adapter_model.safetensors", "README.md", "chatdoctor.json", "loss.png"]
)
def test_a_file_that_is_damaged_on_the_hub(
    hub: StandInHub, me: dict[str, str], published: str, release: Path, tmp_path: Path, path: str
) -> None:
    repo = hub.repo("me/tiny")
    stored = repo.path_of(repo.tree("main")[path])
    stored.write_bytes(stored.read_bytes()[:-1] + b"\x00")
    for out in (None, tmp_path / "out"):
        with pytest.raises(DownloadError, match=path):
            fetch("me/tiny", "v1", out=out, **me)
    assert not (tmp_path / "out").exists()


def test_a_tampered_prompt(hub: StandInHub, me: dict[str, str], published: str, tmp_path: Path) -> None:
    """Somebody with write rights takes the safety prompt out; the Hub's digests are then those of his file."""
    from huggingface_hub import HfApi

    plain = (fetch("me/tiny", "v1", **me) / "additional_chat_templates" / "training.jinja").read_bytes()
    HfApi(**me).upload_file(path_or_fileobj=plain, path_in_repo="chat_template.jinja", repo_id="me/tiny")
    for out in (None, tmp_path / "out"):
        with pytest.raises(PromptDigestError, match=r"chat_template\.jinja") as told:
            fetch("me/tiny", out=out, **me)
    assert str(told.value).startswith(f"me/tiny@{hub.repo('me/tiny').head}/chat_template.jinja: expected")
    assert not (tmp_path / "out").exists()


def test_tampered_words_in_the_manifest(hub: StandInHub, me: dict[str, str], published: str) -> None:
    from huggingface_hub import HfApi

    record = json.loads((fetch("me/tiny", "v1", **me) / "chatdoctor.json").read_text())
    record["prompt"]["safety"] = "Do as you are told."
    data = json.dumps(record).encode()
    HfApi(**me).upload_file(path_or_fileobj=data, path_in_repo="chatdoctor.json", repo_id="me/tiny")
    with pytest.raises(PromptDigestError):
        fetch("me/tiny", **me)


def test_a_model_of_others_is_not_downloaded(hub: StandInHub, me: dict[str, str]) -> None:
    from huggingface_hub import HfApi

    HfApi(**me).create_repo("me/plain")
    HfApi(**me).upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="me/plain")
    before = len(hub.requests)
    with pytest.raises(HubNotFoundError, match="expected a release of this library"):
        fetch("me/plain", **me)
    assert not [path for _, path, _ in hub.requests[before:] if "/resolve/" in path]


def test_pickles_are_not_downloaded(hub: StandInHub, me: dict[str, str], published: str) -> None:
    from huggingface_hub import HfApi

    HfApi(**me).upload_file(path_or_fileobj=b"x", path_in_repo="training_args.bin", repo_id="me/tiny")
    assert not (fetch("me/tiny", **me) / "training_args.bin").exists()


def test_what_is_not_there(hub: StandInHub, me: dict[str, str], published: str) -> None:
    with pytest.raises(HubNotFoundError, match="me/nothing: expected a repository"):
        fetch("me/nothing", **me)
    with pytest.raises(HubNotFoundError, match="me/tiny at v9: expected a branch, tag or commit"):
        fetch("me/tiny", "v9", **me)
    with pytest.raises(
        HubNotFoundError, match="expected a repository of type dataset, found one of type model"
    ):
        fetch("me/tiny", type="dataset", **me)
    with pytest.raises(HubError, match="xpected a repo id"):
        fetch("me/bad name!", **me)


def test_a_closed_gate(hub: StandInHub, me: dict[str, str], release: Path) -> None:
    publish(release, "me/gated", public=True, gated="manual", **me)
    with pytest.raises(HubAccessError, match="gate"):
        fetch("me/gated", endpoint=hub.url, token=hub.token("other"))
    publish(release, "me/hidden", **me)
    with pytest.raises(HubNotFoundError, match="log in"):
        fetch("me/hidden", endpoint=hub.url, token=hub.token("other"))


def test_faults_on_the_way(
    hub: StandInHub, me: dict[str, str], slim: Path, tmp_path: Path, at_once: list[float]
) -> None:
    publish(slim, "me/tiny", tag="v1", **me)
    before = len(hub.requests)
    fetch("me/tiny", "v1", out=tmp_path / "out", **me)
    requests = len(hub.requests) - before
    kinds = ("reset", "500", "429", "truncate")
    for number in range(1, requests + 1):
        hub.clear_faults()
        hub.fault_at(number, Fault(kinds[number % len(kinds)]))
        assert bytes_of(fetch("me/tiny", "v1", out=tmp_path / "out", **me)) == bytes_of(slim)


def test_a_hub_that_is_gone_half_way(
    hub: StandInHub, me: dict[str, str], published: str, tmp_path: Path, at_once: list[float]
) -> None:
    hub.fault_at(12, Fault("kill"))
    with pytest.raises(HubUnreachableError, match="again later"):
        fetch("me/tiny", "v1", out=tmp_path / "out", **me)
    assert list(tmp_path.glob("*out*")) == []
    hub.clear_faults()
    hub.start()
    load_manifest(fetch("me/tiny", "v1", out=tmp_path / "out", **me))


def test_a_full_disk(me: dict[str, str], published: str, tmp_path: Path) -> None:
    for out in (None, tmp_path / "out"):
        with files_of_at_most(20_000), pytest.raises(DiskSpaceError, match="room on the disk"):
            fetch("me/tiny", "v1", out=out, **me)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_too_small(
    me: dict[str, str], published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(DiskSpaceError, match="expected room for"):
        fetch("me/tiny", "v1", out=tmp_path / "out", **me)


def test_other_files_are_not_replaced(me: dict[str, str], published: str, tmp_path: Path) -> None:
    from chatdoctor_hub.errors import DataFormatError

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(DataFormatError, match="choose another folder"):
        fetch("me/tiny", out=tmp_path / "out", **me)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "mine"


CHAT = """
from chatdoctor_hub import ChatDoctor
llm = ChatDoctor(model="me/tiny", revision="v1", max_tokens=4)
reply = llm.invoke("How long does a cold last?")
print(llm._identifying_params["prompt"], llm._identifying_params["revision"])
"""
PLAIN = """
import sys
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("me/tiny", revision="v1")
text = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
assert not [name for name in sys.modules if name.startswith("chatdoctor_hub")]
print(text)
"""


def run(hub: StandInHub, token: str, code: str) -> str:
    environment = hub.environment(token) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    "hub_in_both_modes", ["xet", pytest.param("lfs", marks=pytest.mark.slow)], indirect=True
)
def test_chat_by_the_hubs_id(hub_in_both_modes: StandInHub, release: Path) -> None:
    token = hub_in_both_modes.token("me")
    publish(release, "me/tiny", tag="v1", endpoint=hub_in_both_modes.url, token=token)
    assert run(hub_in_both_modes, token, CHAT).split() == ["chatdoctor@1", "v1"]


def test_people_who_never_heard_of_this_library(
    hub: StandInHub, me: dict[str, str], published: str, release: Path
) -> None:
    pair = load_manifest(release).prompt_pair
    assert pair.safety
    assert pair.safety in run(hub, me["token"], PLAIN)


def test_a_missing_file(hub: StandInHub, me: dict[str, str], published: str) -> None:
    from huggingface_hub import HfApi

    HfApi(**me).delete_file("adapter/adapter_config.json", repo_id="me/tiny")
    with pytest.raises(ReleaseFormatError, match=r"adapter_config\.json"):
        fetch("me/tiny", **me)

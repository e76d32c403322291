"""`plan`: what it shows, what it refuses, and that it sends nothing."""

from __future__ import annotations

import inspect
import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
from stand_in_hub import Fault, StandInHub

from chatdoctor_hub.errors import (
    ChatDoctorError,
    ConfigError,
    HubAccessError,
    HubConflictError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
    PromptDigestError,
    PublishError,
    ReleaseFormatError,
    ReleaseNotFoundError,
)
from chatdoctor_hub.hub import plan, publish, verify

TOKEN = "hf_" + "aB3" * 11 + "x"


@pytest.fixture
def me(hub: StandInHub) -> dict[str, str]:
    return {"endpoint": hub.url, "token": hub.token("me")}


def test_a_new_repository(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    found = plan(slim, "tiny", public=True, gated="auto", tag="v1", collection="Doctors", **me)
    assert (found.repo, found.type, found.visibility) == ("me/tiny", "model", "public")
    assert {file.state for file in found.files} == {"new"}
    assert found.upload_bytes == sum(file.stat().st_size for file in slim.rglob("*") if file.is_file())
    assert found.changes == (
        "a new repository, private",
        "gated: auto",
        "tag v1",
        "in the collection Doctors",
        "public, once it is verified",
    )
    record = json.loads(json.dumps(found.to_record()))
    assert record["allowed"]
    assert not record["exists"]
    assert {method for method, _, _ in hub.requests} == {"GET"}


def test_an_update(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    (slim / "a.md").write_text("a")
    publish(slim, "me/tiny", **me)
    (slim / "a.md").write_text("b")
    (slim / "b.md").write_text("b")
    before = len(hub.requests)
    states = {file.path: file.state for file in plan(slim, "me/tiny", **me).files}
    assert states.pop("a.md") == "changed"
    assert states.pop("b.md") == "new"
    assert set(states.values()) == {"same"}
    assert {method for method, _, _ in hub.requests[before:]} <= {"GET", "HEAD"}


def refused(
    folder: Path, me: dict[str, str], *parts: str, kind: type[ChatDoctorError] = PublishError, **more: object
) -> None:
    """One sentence, before anything was sent."""
    with pytest.raises(kind) as told:
        publish(folder, "me/tiny", **me, **more)  # type: ignore[arg-type]
    said = str(told.value)
    assert "xpected" in said
    assert "\n" not in said
    for part in parts:
        assert part in said, said


def test_no_token(hub: StandInHub, slim: Path) -> None:
    refused(slim, {"endpoint": hub.url}, "found none", "hf auth login", kind=HubAccessError)
    assert hub.requests == []


def test_a_token_that_is_worthless(hub: StandInHub, slim: Path) -> None:
    refused(slim, {"endpoint": hub.url, "token": "hf_nothing"}, "found another", kind=HubAccessError)


def test_a_token_that_may_only_read(hub: StandInHub, slim: Path) -> None:
    me = {"endpoint": hub.url, "token": hub.token("me", role="read")}
    refused(slim, me, "write rights", "may only read", kind=HubAccessError)


def test_the_name_of_somebody_else(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    publish(slim, "me/tiny", public=True, **me)
    other = {"endpoint": hub.url, "token": hub.token("other")}
    refused(slim, other, "a token of me", "that of other", "pull request", kind=HubAccessError)
    hub.organisation("clinic", {"other": "read"})
    with pytest.raises(HubAccessError, match="may only read there"):
        plan(slim, "clinic/tiny", **other)


@pytest.mark.parametrize("name", ["me/bad name", "me/a--b", "a/b/c", "", "me/ü", "me/" + "x" * 100, "-me/x"])
def test_a_bad_name(hub: StandInHub, me: dict[str, str], slim: Path, name: str) -> None:
    with pytest.raises(HubError, match="xpected a repo id such as"):
        plan(slim, name, **me)
    assert hub.requests == []


def test_a_model_and_a_data_set_may_have_one_name(
    hub: StandInHub, me: dict[str, str], slim: Path, corpus: Path
) -> None:
    """On the Hub each type has its names; the type that is meant must be that of the folder."""
    publish(corpus, "me/tiny", accept=["identifiers"], **me)
    assert publish(slim, "me/tiny", **me).type == "model"
    assert hub.repo("me/tiny", "dataset").exists
    with pytest.raises(PublishError, match="expected a corpus, which a repository of type dataset is for"):
        plan(slim, "me/new", type="dataset", **me)


def test_a_name_that_something_else_has(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    from huggingface_hub import HfApi

    HfApi(**me).create_repo("me/tiny")
    HfApi(**me).upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="me/tiny")
    refused(slim, me, "found other files (config.json", kind=HubConflictError)


def test_a_folder_that_is_no_release(hub: StandInHub, me: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    refused(tmp_path / "x", me, "chatdoctor.json", kind=ReleaseNotFoundError)
    assert hub.requests == []


def test_gaps_in_the_card(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    card = (slim / "README.md").read_text()
    (slim / "README.md").write_text(card.replace("## Limitations", "## Limits"))
    refused(slim, me, "README.md", kind=ReleaseFormatError)
    assert hub.requests == []


def test_a_tampered_prompt(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    template = slim / "chat_template.jinja"
    template.write_text(template.read_text().replace("safe", "bold"))
    refused(slim, me, "chat_template.jinja", kind=PromptDigestError)
    assert hub.requests == []


def test_secrets_are_named_by_kind_and_never_shown(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    (slim / "NOTES.md").write_text(f"login with {TOKEN}")
    with pytest.raises(PublishError, match=r"NOTES\.md: 1 Hugging Face token; remove and revoke") as told:
        publish(slim, "me/tiny", accept=["licences", "identifiers"], **me)
    assert TOKEN not in str(told.value)
    assert TOKEN not in json.dumps(plan(slim, "me/tiny", **me).to_record())
    assert not hub.repo("me/tiny").exists


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("training_args.bin", b"x"),
        ("optimizer.PT", b"x"),
        ("notes.dat", pickle.dumps({"a": 1})),
        ("notes.txt", zipped()),
        ("extra.safetensors", pickle.dumps({"a": 1})),
        ("scores.npy", b"\x93NUMPY"),
    ],
)
def test_pickles_by_name_and_by_content(me: dict[str, str], slim: Path, name: str, data: bytes) -> None:
    (slim / name).write_bytes(data)
    refused(slim, me, name, "use safetensors")


def test_a_table_in_a_release(me: dict[str, str], slim: Path) -> None:
    (slim / "patients.csv").write_text("name,age\n")
    refused(slim, me, "patients.csv", "may hold patients' words")


def test_a_link_that_leads_out(me: dict[str, str], slim: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.md").write_text("mine")
    (slim / "diary.md").symlink_to(tmp_path / "diary.md")
    refused(slim, me, "diary.md", "a link that leads out")


def test_hidden_files_stay_here(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    (slim / ".env").write_text(f"HF_TOKEN={TOKEN}")
    (slim / ".git").mkdir()
    (slim / ".git" / "config").write_text("x")
    (slim / "NOTES.md").write_text("x")
    found = plan(slim, "me/tiny", **me)
    assert not [file.path for file in found.files if file.path.startswith(".")]
    told = {concern.kind: concern.what for concern in found.concerns}
    assert ".env, .git" in told["left out"]
    assert "NOTES.md" in told["strangers"]


def test_a_licence_that_forbids(hub: StandInHub, me: dict[str, str], tmp_path: Path) -> None:
    from chatdoctor_hub.corpus import split
    from chatdoctor_hub.corpus.folder import Corpus
    from chatdoctor_hub.dialogue import Dialogue

    words = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    talks = [Dialogue.from_messages([{**words[0], "content": f"Why {n}?"}, words[1]]) for n in range(20)]
    record = {"seed": 0, "sources": ["a"], "repairs": {}, "problems": ()}
    folder = Corpus.write(tmp_path / "c", split(talks), licence="cc-by-nc-4.0", **record).path
    with pytest.raises(PublishError, match=r"forbids commercial use.*accept: licences"):
        publish(folder, "me/talks", public=True, **me)
    assert not hub.repo("me/talks", "dataset").exists
    assert publish(folder, "me/talks", public=True, accept=["licences", "identifiers"], **me).public


def test_identifiers_are_counted_by_kind(hub: StandInHub, me: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer")
    from chatdoctor_hub.corpus import split
    from chatdoctor_hub.corpus.folder import Corpus
    from chatdoctor_hub.dialogue import Dialogue

    def talk(n: int) -> Dialogue:
        words = f"I am number {n}, write to jane.roe{n}@example.org." if n < 3 else f"It itches, take {n}."
        return Dialogue.from_messages(
            [{"role": "user", "content": words}, {"role": "assistant", "content": "Rest."}]
        )

    record = {"seed": 0, "sources": [{"name": "a", "licence": "cc0-1.0"}], "repairs": {}, "problems": ()}
    splits = split([talk(n) for n in range(20)])
    folder = Corpus.write(tmp_path / "c", splits, licence="cc0-1.0", **record).path
    with pytest.raises(PublishError, match=r"in 3 of 20 dialogues: 3 email.*accept: identifiers") as told:
        publish(folder, "me/talks", public=True, **me)
    assert "jane" not in str(told.value)
    assert not publish(folder, "me/talks", **me).public


def test_a_public_repository_is_not_changed_unsaid(me: dict[str, str], slim: Path) -> None:
    publish(slim, "me/tiny", public=True, **me)
    assert not publish(slim, "me/tiny", **me).changed
    (slim / "NOTICE").write_text("x")
    refused(slim, me, "is public", "ask for public, or open a pull request")


def test_a_tag_that_is_taken(me: dict[str, str], slim: Path) -> None:
    publish(slim, "me/tiny", tag="v1", **me)
    (slim / "NOTICE").write_text("x")
    refused(slim, me, "the tag v1", "choose another tag", kind=HubConflictError, tag="v1")


def test_a_branch_that_is_not_there(me: dict[str, str], slim: Path) -> None:
    refused(slim, me, "publish to main first", kind=HubNotFoundError, revision="dev")
    publish(slim, "me/tiny", **me)
    refused(slim, me, "a branch dev, found main", kind=HubNotFoundError, revision="dev")


def test_a_pull_request_to_nothing(me: dict[str, str], slim: Path) -> None:
    refused(slim, me, "to open a pull request to", kind=HubNotFoundError, pr=True)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"gated": "yes"}, "gated"),
        ({"tag": "a b"}, "tag"),
        ({"tag": "main"}, "tag"),
        ({"merge": True}, "merge with a pull request"),
        ({"pr": True, "public": True}, "without public"),
        ({"pr": True, "revision": "dev"}, "to main"),
        ({"accept": ["secrets"]}, "accept among "),
        ({"revision": "chatdoctor-publish"}, "revision"),
        ({"revision": "a..b c"}, "revision"),
    ],
)
def test_settings_that_do_not_go_together(
    hub: StandInHub, me: dict[str, str], slim: Path, settings: dict[str, object], part: str
) -> None:
    refused(slim, me, part, kind=ConfigError, **settings)
    assert hub.requests == []


def test_offline(hub: StandInHub, me: dict[str, str], slim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(slim, me, "HF_HUB_OFFLINE", kind=HubUnreachableError)


def test_a_hub_that_is_not_there(
    me: dict[str, str], slim: Path, hub: StandInHub, at_once: list[float]
) -> None:
    hub.stop()
    refused(slim, me, hub.url, "do the same again later", kind=HubUnreachableError)
    assert len(at_once) == 4


@pytest.mark.parametrize("address", ["nonsense", "hub.example.org", "https://", "ftp://hub", "http://[::1"])
def test_an_address_that_is_none(slim: Path, address: str) -> None:
    me = {"endpoint": address, "token": TOKEN}
    refused(slim, me, "the address of a Hub", repr(address), kind=ConfigError)
    with pytest.raises(ConfigError, match="the address of a Hub"):
        verify("me/tiny", **me)


def test_retry_after_is_heeded(hub: StandInHub, me: dict[str, str], slim: Path, at_once: list[float]) -> None:
    hub.fault_at(1, Fault("429", retry_after=7))
    plan(slim, "me/tiny", **me)
    assert at_once == [7.0]


def test_a_wait_that_is_too_long(
    hub: StandInHub, me: dict[str, str], slim: Path, at_once: list[float]
) -> None:
    hub.fault_at(1, Fault("429", retry_after=4000))
    refused(slim, me, "429", kind=HubUnreachableError)
    assert at_once == []


@pytest.mark.parametrize(
    "part", ["whoami", "/refs", "/tree/", "/preupload/", "/lfs/objects/batch", "/commit/", "/tag/"]
)
def test_how_often_a_request_is_made_that_always_fails(
    hub: StandInHub, me: dict[str, str], slim: Path, at_once: list[float], part: str
) -> None:
    """Five times by us, or six by huggingface_hub itself; never both."""

    def fault(method: str, path: str, n: int) -> Fault | None:
        return Fault("500") if part in path else None

    hub.fault(fault)
    refused(slim, me, "500", kind=HubUnreachableError, tag="v1")
    tried = sum(part in path for _, path, _ in hub.requests)
    theirs = {"/preupload/", "/lfs/objects/batch", *({"/tree/"} if repeats_lists() else {})}
    assert tried == (6 if part in theirs else 5)


def repeats_lists() -> bool:
    """Whether this huggingface_hub repeats the first request for a list itself."""
    from huggingface_hub.utils import _pagination

    return "session.get(" not in inspect.getsource(_pagination)

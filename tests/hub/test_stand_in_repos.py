"""The stand-in Hub: who may do what, and what it says of a repository."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from stand_in_hub import StandInHub

CARD = """---
license: apache-2.0
library_name: peft
base_model: meta-llama/Llama-3.2-1B
tags: [medical]
language: en
---
# A card
"""


@pytest.fixture
def api(hub: StandInHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token("me"))


def stranger(hub: StandInHub, role: str = "write") -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token("stranger", role=role))


def put(
    api: HfApi, path: str = "a.txt", data: bytes = b"a", repo: str = "me/thing", **options: object
) -> str:
    return api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo, **options).oid


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def test_whoami(hub: StandInHub) -> None:
    hub.organisation("lab", {"me": "write", "other": "admin"})
    found = HfApi(endpoint=hub.url, token=hub.token("me", role="read")).whoami()
    assert found["name"] == "me"
    assert [(org["name"], org["roleInOrg"]) for org in found["orgs"]] == [("lab", "write")]
    assert found["auth"]["accessToken"]["role"] == "read"


@pytest.mark.parametrize("token", ["hf_wrong", False])
def test_nobody_knows_a_wrong_token(hub: StandInHub, token: str | bool) -> None:
    api = HfApi(endpoint=hub.url, token=token)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("me/thing")
    assert status_of(caught) == 401


def test_a_wrong_token_is_not_a_missing_repository(hub: StandInHub, api: HfApi) -> None:
    api.create_repo("me/thing")
    token = hub.token("me")
    hub.accounts.revoke(token)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as caught:
        HfApi(endpoint=hub.url, token=token).model_info("me/thing")
    assert not isinstance(caught.value, RepositoryNotFoundError)


def test_repositories_are_made_once_and_in_ones_own_namespace(hub: StandInHub, api: HfApi) -> None:
    made = api.create_repo("me/thing", private=True)
    assert str(made) == f"{hub.url}/me/thing"
    assert hub.repo("me/thing").private
    assert sorted(hub.repo("me/thing").files()) == [".gitattributes"]
    assert str(api.create_repo("me/thing", exist_ok=True)) == str(made)
    assert str(api.create_repo("ME/Thing".replace("ME", "me"), exist_ok=True)) == str(made)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("me/thing")
    assert status_of(caught) == 409
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("other/thing")
    assert status_of(caught) == 403
    data = api.create_repo("me/thing", repo_type="dataset")
    assert data.repo_type == "dataset"
    assert hub.repo("me/thing", type="dataset").exists


def test_a_read_token_reads(hub: StandInHub, api: HfApi) -> None:
    api.create_repo("me/thing", private=True)
    put(api)
    reader = HfApi(endpoint=hub.url, token=hub.token("me", role="read"))
    assert Path(reader.hf_hub_download("me/thing", "a.txt")).read_bytes() == b"a"
    for attempt in (
        lambda: put(reader),
        lambda: put(reader, create_pr=True),
        lambda: reader.create_repo("me/other"),
        lambda: reader.update_repo_settings("me/thing", private=False),
        lambda: reader.create_tag("me/thing", tag="v1"),
        lambda: reader.delete_repo("me/thing"),
        lambda: reader.auth_check("me/thing", write=True),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            attempt()
        assert status_of(caught) == 403


def test_organisations(hub: StandInHub, api: HfApi) -> None:
    hub.organisation("lab", {"me": "write", "reader": "read"})
    api.create_repo("lab/thing", private=True)
    put(api, repo="lab/thing")
    reader = HfApi(endpoint=hub.url, token=hub.token("reader"))
    assert reader.model_info("lab/thing").private
    with pytest.raises(HfHubHTTPError) as caught:
        put(reader, repo="lab/thing")
    assert status_of(caught) == 403


def test_a_private_repository_is_not_there_for_others(hub: StandInHub, api: HfApi) -> None:
    api.create_repo("me/thing", private=True)
    put(api)
    for other in (stranger(hub), HfApi(endpoint=hub.url, token=False)):
        for attempt in (
            lambda other=other: other.model_info("me/thing"),
            lambda other=other: other.hf_hub_download("me/thing", "a.txt"),
            lambda other=other: other.list_repo_files("me/thing"),
            lambda other=other: other.snapshot_download("me/thing"),
            lambda other=other: other.model_info("me/nothing"),
        ):
            with pytest.raises(RepositoryNotFoundError) as caught:
                attempt()
            assert not isinstance(caught.value, GatedRepoError)
        assert list(other.list_models(author="me")) == []
    api.update_repo_settings("me/thing", private=False)
    assert stranger(hub).list_repo_files("me/thing") == [".gitattributes", "a.txt"]


def test_a_gate_hides_the_files_and_opens_for_those_let_in(
    hub: StandInHub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create_repo("me/thing")
    put(api)
    api.update_repo_settings("me/thing", gated="manual")
    other = stranger(hub)
    assert other.model_info("me/thing").gated == "manual"
    for visitor in (other, HfApi(endpoint=hub.url, token=False)):
        with pytest.raises(GatedRepoError):
            visitor.hf_hub_download("me/thing", "a.txt", cache_dir=tmp_path)
        with pytest.raises(GatedRepoError):
            visitor.auth_check("me/thing")
    with monkeypatch.context() as patched:
        # huggingface_hub 1 sends requests for access to the host of its constants, whatever the endpoint given.
        patched.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        api.grant_access("me/thing", "stranger")
        assert [request.username for request in api.list_accepted_access_requests("me/thing")] == ["stranger"]
    assert Path(other.hf_hub_download("me/thing", "a.txt", cache_dir=tmp_path)).read_bytes() == b"a"
    api.update_repo_settings("me/thing", gated=False)
    assert hub.repo("me/thing").gated is False


def test_information(hub: StandInHub, api: HfApi) -> None:
    api.create_repo("me/thing")
    oid = put(api, "README.md", CARD.encode())
    info = api.model_info("me/thing", files_metadata=True)
    assert (info.sha, info.private, info.gated, info.library_name) == (oid, False, False, "peft")
    assert info.card_data.license == "apache-2.0"
    assert {"medical", "license:apache-2.0", "base_model:meta-llama/Llama-3.2-1B", "en"} <= set(info.tags)
    assert {found.rfilename: found.size for found in info.siblings}["README.md"] == len(CARD)
    assert api.repo_exists("me/thing")
    assert not api.repo_exists("me/thing", repo_type="dataset")
    assert api.file_exists("me/thing", "README.md")
    assert not api.revision_exists("me/thing", "v9")
    assert [found.id for found in api.list_models(author="me")] == ["me/thing"]


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        ("---\nlicense: mine\n---\n", "license"),
        ("---\nlicense: [mit\n---\n", "YAML"),
        ("---\nlanguage: English\n---\n", "language"),
        ("---\nmodel-index:\n- results: []\n---\n", "model-index"),
        ("---\nbase_model: a b\n---\n", "base_model"),
    ],
)
def test_a_bad_card_is_refused_before_anything_is_sent(
    hub: StandInHub, api: HfApi, card: str, complaint: str
) -> None:
    api.create_repo("me/thing")
    with pytest.raises(ValueError, match=complaint):
        put(api, "README.md", card.encode())
    assert not any("preupload" in path for _, path, _ in hub.requests)


def test_a_card_without_metadata_is_warned_about(hub: StandInHub, api: HfApi) -> None:
    api.create_repo("me/thing")
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        put(api, "README.md", b"# Bare\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        put(api, "README.md", CARD.encode())
    assert (
        ModelCard(hub.repo("me/thing").files()["README.md"].decode()).data.base_model
        == "meta-llama/Llama-3.2-1B"
    )


def test_a_moved_repository_is_found_under_its_old_name(hub: StandInHub, api: HfApi) -> None:
    api.create_repo("me/thing")
    put(api)
    api.move_repo("me/thing", "me/better")
    assert api.model_info("me/better").id == "me/better"
    assert Path(api.hf_hub_download("me/thing", "a.txt")).read_bytes() == b"a"
    api.delete_repo("me/better")
    assert not hub.repo("me/better").exists
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("me/better")


def test_collections(hub: StandInHub, api: HfApi) -> None:
    api.create_repo("me/thing")
    made = api.create_collection("Medical chat", namespace="me", description="All of it")
    again = api.create_collection("Medical chat", namespace="me", exists_ok=True)
    assert made.slug == again.slug
    api.add_collection_item(made.slug, "me/thing", "model", note="The first")
    api.add_collection_item(made.slug, "me/thing", "model", exists_ok=True)
    assert [(item.item_id, item.note) for item in api.get_collection(made.slug).items] == [
        ("me/thing", "The first")
    ]
    assert [found.slug for found in api.list_collections(owner="me")] == [made.slug]
    for attempt in (
        lambda: api.add_collection_item(made.slug, "me/thing", "model"),
        lambda: api.add_collection_item(made.slug, "me/nothing", "model"),
        lambda: stranger(hub).add_collection_item(made.slug, "me/thing", "model"),
        lambda: api.get_collection("me/nothing-0"),
    ):
        with pytest.raises(HfHubHTTPError):
            attempt()
    api.delete_collection(made.slug)
    assert list(api.list_collections(owner="me")) == []


def test_what_the_stand_in_does_not_know_is_an_error(hub: StandInHub, api: HfApi) -> None:
    api.create_repo("me/thing")
    with pytest.raises(HfHubHTTPError, match="no answer to"):
        api.super_squash_history("me/thing")

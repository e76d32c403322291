"""The stand-in Hub: the unmodified huggingface_hub writes and reads files, by LFS and by Xet."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    get_hf_file_metadata,
    hf_hub_url,
)
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError, RevisionNotFoundError
from stand_in_hub import StandInHub

CARD = b"---\nlicense: apache-2.0\nlibrary_name: peft\ntags: [medical]\n---\n# A card\n"


def some_bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


FILES = {
    "README.md": CARD,
    "config.json": b"{}",
    "deep/er/notes.txt": "Kälte".encode(),
    "empty.txt": b"",
    "adapter.safetensors": some_bytes(150_000, 1),
    "deep/model.safetensors": some_bytes(1_500_000, 2),
}


def commit(api: HfApi, files: dict[str, bytes], repo: str = "me/thing", **options: object) -> str:
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    return api.create_commit(repo, operations, commit_message="Add", **options).oid


@pytest.fixture
def hub(hub_in_both_modes: StandInHub) -> StandInHub:
    return hub_in_both_modes


@pytest.fixture
def api(hub: StandInHub) -> HfApi:
    api = HfApi(endpoint=hub.url, token=hub.token("me"))
    api.create_repo("me/thing")
    return api


def test_what_is_committed_is_what_is_downloaded(api: HfApi, hub: StandInHub, tmp_path: Path) -> None:
    head = hub.repo("me/thing").head
    oid = commit(api, FILES, parent_commit=head)
    repo = hub.repo("me/thing")
    assert repo.commits == [oid, head]
    stored = repo.files(oid)
    del stored[".gitattributes"]
    assert stored == FILES
    folder = Path(api.snapshot_download("me/thing", cache_dir=tmp_path))
    assert folder.name == oid
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    single = api.hf_hub_download(
        "me/thing", "deep/model.safetensors", revision=oid, local_dir=tmp_path / "one"
    )
    assert Path(single).read_bytes() == FILES["deep/model.safetensors"]


def test_lists_trees_and_paths(api: HfApi, hub: StandInHub) -> None:
    oid = commit(api, FILES)
    assert api.list_repo_files("me/thing") == sorted([*FILES, ".gitattributes"])
    top = {item.path: item for item in api.list_repo_tree("me/thing", expand=True)}
    assert sorted(top) == [
        ".gitattributes",
        "README.md",
        "adapter.safetensors",
        "config.json",
        "deep",
        "empty.txt",
    ]
    large = top["adapter.safetensors"]
    assert large.lfs.sha256 == hashlib.sha256(FILES["adapter.safetensors"]).hexdigest()
    assert (large.xet_hash is not None) == hub.xet
    assert large.last_commit.oid == oid
    assert top[".gitattributes"].last_commit.oid != oid
    below = [item.path for item in api.list_repo_tree("me/thing", "deep", recursive=True)]
    assert sorted(below) == ["deep/er", "deep/er/notes.txt", "deep/model.safetensors"]
    found = api.get_paths_info("me/thing", ["deep", "empty.txt", "nothing"])
    assert sorted(item.path for item in found) == ["deep", "empty.txt"]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("me/thing", "nowhere"))


def test_long_trees_come_in_pages(api: HfApi, hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stand_in_files.PAGE", 5)
    commit(api, {f"{number}.txt": b"x" for number in range(12)})
    assert len(list(api.list_repo_tree("me/thing"))) == 13
    assert len([path for _, path, _ in hub.requests if path.endswith("/tree/main")]) == 3


def test_files_are_deleted_copied_and_replaced(api: HfApi, hub: StandInHub) -> None:
    commit(api, FILES)
    operations = [
        CommitOperationDelete("deep/", is_folder=True),
        CommitOperationCopy("adapter.safetensors", "copy.safetensors"),
        CommitOperationAdd("config.json", b"[]"),
    ]
    api.create_commit("me/thing", operations, commit_message="Change")
    stored = hub.repo("me/thing").files()
    assert sorted(stored) == [
        *(
            ".gitattributes",
            "README.md",
            "adapter.safetensors",
            "config.json",
            "copy.safetensors",
            "empty.txt",
        )
    ]
    assert stored["copy.safetensors"] == FILES["adapter.safetensors"]
    assert stored["config.json"] == b"[]"
    with pytest.raises(RemoteEntryNotFoundError):
        api.delete_file("nothing.txt", "me/thing")


def test_the_same_files_again_make_no_commit(api: HfApi, hub: StandInHub) -> None:
    first = commit(api, FILES)
    sent = len(hub.requests)
    assert commit(api, FILES) == first
    assert not any("commit" in path or method == "PUT" for method, path, _ in hub.requests[sent:])


def test_a_stale_parent_is_refused(api: HfApi, hub: StandInHub) -> None:
    stale = hub.repo("me/thing").head
    head = commit(api, {"a.txt": b"a"})
    with pytest.raises(HfHubHTTPError) as caught:
        commit(api, {"b.txt": b"b"}, parent_commit=stale)
    assert caught.value.response.status_code == 412
    assert hub.repo("me/thing").head == head


def test_how_large_files_go_up(api: HfApi, hub: StandInHub) -> None:
    commit(api, FILES)
    put = [path for method, path, _ in hub.requests if method == "PUT"]
    whole = hashlib.sha256(FILES["adapter.safetensors"]).hexdigest()
    parted = hashlib.sha256(FILES["deep/model.safetensors"]).hexdigest()
    assert len([path for path in put if path.endswith(whole)]) == (not hub.xet)
    assert len([path for path in put if parted in path]) == (0 if hub.xet else 4)
    assert any("xet-write-token" in path for _, path, _ in hub.requests) == hub.xet


def test_a_pull_request_leaves_main_alone_until_it_is_merged(api: HfApi, hub: StandInHub) -> None:
    head = hub.repo("me/thing").head
    other = HfApi(endpoint=hub.url, token=hub.token("other"))
    made = other.create_commit(
        "me/thing", [CommitOperationAdd("adapter.safetensors", FILES["adapter.safetensors"])], commit_message="Mine",
        create_pr=True,
    )  # fmt: skip
    assert made.pr_num == 1
    assert made.pr_revision == "refs/pr/1"
    assert hub.repo("me/thing").head == head
    assert hub.repo("me/thing").prs[0]["head"] == made.oid
    commit(other, {"more.txt": b"more"}, revision="refs/pr/1")
    path = other.hf_hub_download("me/thing", "adapter.safetensors", revision="refs/pr/1")
    assert Path(path).read_bytes() == FILES["adapter.safetensors"]
    assert [found.num for found in api.get_repo_discussions("me/thing")] == [1]
    assert api.list_repo_refs("me/thing", include_pull_requests=True).pull_requests[0].ref == "refs/pr/1"
    api.merge_pull_request("me/thing", 1)
    assert api.get_discussion_details("me/thing", 1).status == "merged"
    assert sorted(hub.repo("me/thing").files()) == [".gitattributes", "adapter.safetensors", "more.txt"]


def test_revisions(api: HfApi, hub: StandInHub) -> None:
    first = commit(api, {"a.txt": b"1"})
    api.create_tag("me/thing", tag="v1", tag_message="The first")
    api.create_branch("me/thing", branch="next/one")
    second = commit(api, {"a.txt": b"2"}, revision="next/one")
    for revision, data in (
        ("v1", b"1"),
        ("next/one", b"2"),
        ("main", b"1"),
        (second, b"2"),
        (second[:8], b"2"),
    ):
        assert Path(api.hf_hub_download("me/thing", "a.txt", revision=revision)).read_bytes() == data
    assert api.list_repo_commits("me/thing", revision="next/one")[0].commit_id == second
    assert hub.repo("me/thing").tags == {"v1": first}
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_tag("me/thing", tag="v1")
    assert caught.value.response.status_code == 409
    api.create_tag("me/thing", tag="v1", exist_ok=True)
    api.delete_tag("me/thing", tag="v1")
    api.delete_branch("me/thing", branch="next/one")
    for gone in ("v1", "next/one"):
        with pytest.raises(RevisionNotFoundError):
            api.model_info("me/thing", revision=gone)
    with pytest.raises(RemoteEntryNotFoundError) as missing:
        api.hf_hub_download("me/thing", "b.txt")
    assert missing.value.response.headers["X-Repo-Commit"] == first


def test_large_files_come_from_another_host_without_the_token(api: HfApi, hub: StandInHub) -> None:
    commit(api, FILES)
    url = hf_hub_url("me/thing", "adapter.safetensors", endpoint=hub.url)
    found = get_hf_file_metadata(url, token=api.token, endpoint=hub.url)
    assert found.location.startswith(hub.storage_url)
    assert found.size == 150_000
    assert found.etag == hashlib.sha256(FILES["adapter.safetensors"]).hexdigest()
    assert (found.xet_file_data is not None) == hub.xet


def test_the_file_system_reads_a_part_of_a_file(api: HfApi, hub: StandInHub) -> None:
    commit(api, FILES)
    files = HfFileSystem(endpoint=hub.url, token=api.token, skip_instance_cache=True)
    assert sorted(Path(found).name for found in files.glob("me/thing/**/*.safetensors")) == [
        *("adapter.safetensors", "model.safetensors")
    ]
    with files.open("me/thing/deep/model.safetensors", block_size=1000) as file:
        file.seek(1_234_000)
        assert file.read(100) == FILES["deep/model.safetensors"][1_234_000:1_234_100]


def test_a_commit_cannot_name_bytes_that_were_not_uploaded(api: HfApi, hub: StandInHub) -> None:
    lost = CommitOperationAdd("x.safetensors", some_bytes(200))
    api.preupload_lfs_files("me/thing", [lost], free_memory=False)
    for path in (hub.root / "storage").rglob("large/*"):
        path.unlink()
    for path in (hub.root / "storage").rglob("*.mdb"):
        path.unlink()
    with pytest.raises(HfHubHTTPError, match="does not exist"):
        api.create_commit("me/thing", [lost], commit_message="Lost")
    assert len(hub.repo("me/thing").commits) == 1


def test_a_whole_folder_goes_up_and_the_hub_is_found_again_after_a_restart(
    api: HfApi, hub: StandInHub, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    api.upload_folder(repo_id="me/thing", folder_path=folder)
    hub.stop()
    with StandInHub(hub.root, xet=hub.xet) as again:
        other = HfApi(endpoint=again.url, token=api.token)
        found = Path(other.snapshot_download("me/thing", cache_dir=tmp_path / "cache"))
        assert {path: (found / path).read_bytes() for path in FILES} == FILES

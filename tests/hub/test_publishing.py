"""`publish`, against a real server: what is on the Hub afterwards, and in which order it came there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stand_in_hub import StandInHub

from chatdoctor_hub.errors import HubConflictError, PublishError
from chatdoctor_hub.hub import publish, verify


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def stored(hub: StandInHub, name: str, type: str = "model") -> dict[str, bytes]:
    found = dict(hub.repo(name, type).files("main"))
    found.pop(".gitattributes", None)
    return found


def sent(hub: StandInHub, since: int = 0) -> list[str]:
    """What changed something, in order."""
    return [
        f"{method} {path}"
        for method, path, _ in hub.requests[since:]
        if method not in ("GET", "HEAD") and "validate-yaml" not in path
    ]


@pytest.fixture
def me(hub: StandInHub) -> dict[str, str]:
    return {"endpoint": hub.url, "token": hub.token("me")}


def test_a_release_goes_up_whole_and_private(hub_in_both_modes: StandInHub, release: Path) -> None:
    hub = hub_in_both_modes
    done = publish(release, "me/tiny", endpoint=hub.url, token=hub.token("me"))

    repo = hub.repo("me/tiny")
    assert stored(hub, "me/tiny") == bytes_of(release)
    assert repo.private
    assert done.commit == repo.head
    assert done.changed
    assert not done.public
    assert done.url == f"{hub.url}/me/tiny"
    assert len(repo.commits) == 2  # the Hub's own first one, and ours
    assert done.verified.answered
    assert done.verified.compared
    assert (done.verified.commit, done.verified.strangers) == (done.commit, ())
    assert json.loads(json.dumps(done.to_record()))["verified"]["answered"]


def test_the_order(hub: StandInHub, me: dict[str, str], release: Path) -> None:
    done = publish(release, "me/tiny", public=True, gated="auto", tag="v1", collection="Doctors", **me)
    repo = hub.repo("me/tiny")
    assert (repo.private, repo.gated, repo.tags) == (False, "auto", {"v1": done.commit})
    order = [item.split("?")[0] for item in sent(hub)]
    steps = [
        "POST /api/repos/create",
        "POST /api/models/me/tiny/commit/main",
        "PUT /api/models/me/tiny/settings",
        f"POST /api/models/me/tiny/tag/{done.commit}",
        "POST /api/collections",
    ]
    places = [order.index(step) for step in steps]
    assert places == sorted(places)
    assert order[-1] == "PUT /api/models/me/tiny/settings"
    downloads = [
        n for n, (method, path, _) in enumerate(hub.requests) if "/resolve/" in path and method == "GET"
    ]
    last = max(n for n, (_, path, _) in enumerate(hub.requests) if path.endswith("/settings"))
    assert downloads
    assert max(downloads) < last


def test_again_makes_no_commit_and_says_so(hub: StandInHub, me: dict[str, str], release: Path) -> None:
    first = publish(release, "me/tiny", public=True, tag="v1", collection="Doctors", **me)
    before = len(hub.requests)
    again = publish(release, "me/tiny", public=True, tag="v1", collection="Doctors", **me)
    assert (again.changed, again.commit) == (False, first.commit)
    assert len(hub.repo("me/tiny").commits) == 2
    assert [item for item in sent(hub, before) if "/items" not in item] == []


def test_what_changed_alone_is_sent_and_what_is_gone_goes(
    hub: StandInHub, me: dict[str, str], release: Path
) -> None:
    publish(release, "me/tiny", **me)
    manifest = json.loads((release / "chatdoctor.json").read_text())
    del manifest["files"]["loss.png"]
    (release / "loss.png").unlink()
    (release / "chatdoctor.json").write_text(json.dumps(manifest))
    before = len(hub.requests)
    done = publish(release, "me/tiny", **me)
    assert done.changed
    assert stored(hub, "me/tiny") == bytes_of(release)
    assert not [item for item in sent(hub, before) if "/info/lfs/" in item]


def test_files_that_others_added_on_the_hub_stay(hub: StandInHub, me: dict[str, str], release: Path) -> None:
    from huggingface_hub import HfApi

    publish(release, "me/tiny", **me)
    HfApi(**me).upload_file(path_or_fileobj=b"ours", path_in_repo="LICENSE", repo_id="me/tiny")
    publish(release, "me/tiny", **me)
    assert stored(hub, "me/tiny")["LICENSE"] == b"ours"


def test_a_corpus_is_a_dataset_with_its_card_in_the_same_commit(
    hub_in_both_modes: StandInHub, corpus: Path
) -> None:
    hub = hub_in_both_modes
    done = publish(corpus, "talks", endpoint=hub.url, token=hub.token("me"), accept=["identifiers"])
    assert (done.repo, done.type) == ("me/talks", "dataset")
    assert stored(hub, "me/talks", "dataset") == bytes_of(corpus)
    assert len(hub.repo("me/talks", "dataset").commits) == 2


def test_a_refusal_sends_nothing(hub: StandInHub, me: dict[str, str], release: Path) -> None:
    shown = []
    with pytest.raises(PublishError, match="expected a yes"):
        publish(release, "me/tiny", public=True, confirm=lambda plan: bool(shown.append(plan)), **me)
    assert shown[0].visibility == "public"
    assert sent(hub) == []


def test_a_push_of_somebody_else_is_told_with_both_shas(
    hub: StandInHub, me: dict[str, str], release: Path
) -> None:
    from huggingface_hub import HfApi

    publish(release, "me/tiny", **me)
    (release / "NOTICE").write_text("mine")
    seen: list[str] = [hub.repo("me/tiny").head]

    def push(plan: object) -> bool:
        HfApi(**me).upload_file(path_or_fileobj=b"theirs", path_in_repo="NOTICE", repo_id="me/tiny")
        seen.append(hub.repo("me/tiny").head)
        return True

    with pytest.raises(HubConflictError) as told:
        publish(release, "me/tiny", confirm=push, **me)
    assert seen[0] in str(told.value)
    assert seen[1] in str(told.value)
    assert hub.repo("me/tiny").head == seen[1]
    assert stored(hub, "me/tiny")["NOTICE"] == b"theirs"


def test_a_pull_request_changes_nothing_else(hub: StandInHub, me: dict[str, str], release: Path) -> None:
    publish(release, "me/tiny", public=True, **me)
    head = hub.repo("me/tiny").head
    (release / "NOTICE").write_text("new")
    done = publish(release, "me/tiny", pr=True, **me)
    assert (done.pull_request, done.changed, done.verified.answered) == (1, True, True)
    assert hub.repo("me/tiny").head == head
    again = publish(release, "me/tiny", pr=True, **me)
    assert (again.pull_request, again.changed, again.commit) == (1, False, done.commit)
    assert len(hub.repo("me/tiny").prs) == 1


def test_a_pull_request_that_is_verified_and_merged(
    hub: StandInHub, me: dict[str, str], release: Path
) -> None:
    publish(release, "me/tiny", public=True, **me)
    (release / "NOTICE").write_text("new")
    publish(release, "me/tiny", pr=True, **me)
    done = publish(release, "me/tiny", pr=True, merge=True, tag="v2", **me)
    assert done.changed, "the pull request was there, but the branch has moved"
    assert done.commit == done.verified.commit == hub.repo("me/tiny").head
    assert hub.repo("me/tiny").tags["v2"] == done.commit
    assert stored(hub, "me/tiny")["NOTICE"] == b"new"


def test_a_branch(hub: StandInHub, me: dict[str, str], release: Path) -> None:
    from huggingface_hub import HfApi

    publish(release, "me/tiny", **me)
    head = hub.repo("me/tiny").head
    HfApi(**me).create_branch("me/tiny", branch="dev")
    (release / "NOTICE").write_text("new")
    done = publish(release, "me/tiny", revision="dev", **me)
    assert hub.repo("me/tiny").head == head
    assert hub.repo("me/tiny").branches["dev"] == done.commit


def test_what_was_published_is_verified_on_its_own(
    hub: StandInHub, me: dict[str, str], release: Path
) -> None:
    done = publish(release, "me/tiny", tag="v1", **me)
    report = verify("me/tiny", "v1", **me)
    assert (report.commit, report.type, report.prompt) == (done.commit, "model", "chatdoctor@1")
    assert report.files == len(bytes_of(release))
    assert report.bytes == sum(len(data) for data in bytes_of(release).values())
    assert (report.answered, report.why_not, report.strangers) == (True, "", ())
    assert json.dumps(report.to_record())
    quick = verify("me/tiny", "v1", ask=False, **me)
    assert (quick.answered, quick.why_not) == (False, "it was not asked for")


def test_an_organisation(hub: StandInHub, release: Path) -> None:
    hub.organisation("clinic", {"me": "write"})
    done = publish(release, "clinic/tiny", endpoint=hub.url, token=hub.token("me"))
    assert done.repo == "clinic/tiny"
    assert hub.repo("clinic/tiny").private

"""What people use moves only to what was downloaded, loaded and asked before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stand_in_hub import Fault, StandInHub

from chatdoctor_hub.errors import GenerationError, HubError, ModelFormatError, PublishError
from chatdoctor_hub.hub import plan, publish, verify
from chatdoctor_hub.release import Manifest
from chatdoctor_hub.release.manifest import sha256_of

BRANCH = "chatdoctor-publish"


@pytest.fixture
def me(hub: StandInHub) -> dict[str, str]:
    return {"endpoint": hub.url, "token": hub.token("me")}


def broken(folder: Path) -> Path:
    """Weights that load and compute no numbers, in a release whose records are in order."""
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    return recorded(folder)


def recorded(folder: Path) -> Path:
    record = folder / "chatdoctor.json"
    made = Manifest.model_validate_json(record.read_text(encoding="utf-8"))
    files = {name: sha256_of(folder / name) for name in made.files}
    record.write_text(made.model_copy(update={"files": files}).model_dump_json(indent=2), encoding="utf-8")
    return folder


def steps(hub: StandInHub, since: int) -> list[str]:
    """What changed something, in order, without uploads."""
    return [
        f"{method} {path.split('?')[0]}"
        for method, path, _ in hub.requests[since:]
        if method in ("POST", "PUT", "DELETE") and path.startswith("/api/") and "preupload" not in path
        if "validate-yaml" not in path
    ]


def test_what_is_public_stays_when_the_new_one_is_broken(
    hub: StandInHub, me: dict[str, str], slim: Path
) -> None:
    publish(slim, "me/tiny", public=True, tag="v1", **me)
    repo = hub.repo("me/tiny")
    head, good = repo.head, (slim / "model.safetensors").read_bytes()
    with pytest.raises(GenerationError):
        publish(broken(slim), "me/tiny", public=True, tag="v2", collection="Doctors", **me)
    assert (repo.head, repo.tags, list(repo.branches)) == (head, {"v1": head}, ["main"])

    (slim / "model.safetensors").write_bytes(good)
    (slim / "NOTICE").write_text("better")
    done = publish(recorded(slim), "me/tiny", public=True, tag="v2", **me)
    assert repo.tags == {"v1": head, "v2": done.commit}
    assert repo.commits == [done.commit, head, repo.commits[-1]]


def test_a_first_one_that_is_broken_is_never_public(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    with pytest.raises(GenerationError):
        publish(broken(slim), "me/tiny", public=True, gated="auto", tag="v1", **me)
    repo = hub.repo("me/tiny")
    assert (repo.private, repo.gated, repo.tags) == (True, False, {})
    with pytest.raises(GenerationError):
        publish(slim, "me/tiny", public=True, **me)
    assert repo.private


def test_a_model_that_says_nothing(
    hub: StandInHub, me: dict[str, str], slim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatdoctor_hub.hub.verifying.ask_model", lambda folder: " \n")
    with pytest.raises(PublishError, match="me/tiny: expected an answer of the model"):
        publish(slim, "me/tiny", public=True, **me)
    assert hub.repo("me/tiny").private


def test_the_order_of_an_update(hub_in_both_modes: StandInHub, slim: Path) -> None:
    hub = hub_in_both_modes
    me = {"endpoint": hub.url, "token": hub.token("me")}
    publish(slim, "me/tiny", public=True, **me)
    (slim / "NOTICE").write_text("new")
    before = len(hub.requests)
    done = publish(slim, "me/tiny", public=True, tag="v2", **me)
    api = "/api/models/me/tiny"
    assert steps(hub, before) == [
        f"POST {api}/branch/{BRANCH}",
        f"POST {api}/commit/{BRANCH}",
        f"POST {api}/commit/main",
        f"DELETE {api}/branch/{BRANCH}",
        f"POST {api}/tag/{done.commit}",
    ]
    paths = [(method, path) for method, path, _ in hub.requests[before:]]
    moved = paths.index(("POST", f"{api}/commit/main"))
    loads = [n for n, (method, path) in enumerate(paths) if method == "GET" and "/resolve/" in path]
    assert max(loads) < moved
    assert done.verified.commit == done.commit == hub.repo("me/tiny").head
    assert done.verified.answered


def test_large_files_are_sent_once(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    publish(slim, "me/tiny", **me)
    from safetensors.torch import load_file, save_file

    file = slim / "model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    before = len(hub.requests)
    publish(recorded(slim), "me/tiny", **me)
    puts = [path for method, path, _ in hub.requests[before:] if method == "PUT" and "/storage/" in path]
    assert len(puts) == 1


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_branch_that_was_left_behind_goes(
    hub: StandInHub, me: dict[str, str], slim: Path, is_changed: bool
) -> None:
    from huggingface_hub import HfApi

    publish(slim, "me/tiny", **me)
    HfApi(**me).create_branch("me/tiny", branch=BRANCH)
    HfApi(**me).upload_file(path_or_fileobj=b"x", path_in_repo="half.txt", repo_id="me/tiny", revision=BRANCH)
    if is_changed:
        (slim / "NOTICE").write_text("new")
    assert publish(slim, "me/tiny", **me).changed == is_changed
    repo = hub.repo("me/tiny")
    assert list(repo.branches) == ["main"]
    assert "half.txt" not in repo.files("main")


def test_a_hub_that_goes_before_it_moves(
    hub: StandInHub, me: dict[str, str], slim: Path, at_once: list[float]
) -> None:
    """The next publish finds the branch that was left, and completes what was begun."""
    publish(slim, "me/tiny", **me)
    head = hub.repo("me/tiny").head
    (slim / "NOTICE").write_text("new")

    def kill(method: str, path: str, n: int) -> Fault | None:
        return Fault("kill") if method == "POST" and path.endswith("/commit/main") else None

    hub.fault(kill)
    with pytest.raises(HubError):
        publish(slim, "me/tiny", **me)
    hub.clear_faults()
    hub.start()
    repo = hub.repo("me/tiny")
    assert repo.head == head
    assert set(repo.branches) == {"main", BRANCH}
    done = publish(slim, "me/tiny", **me)
    assert (repo.head, list(repo.branches), len(repo.commits)) == (done.commit, ["main"], 3)


def test_public_needs_an_answer_first(hub: StandInHub, me: dict[str, str], slim: Path) -> None:
    with pytest.raises(PublishError, match=r"its weights are to be loaded.*accept: unasked"):
        publish(slim, "me/tiny", public=True, ask=False, **me)
    assert not hub.repo("me/tiny").exists
    assert not publish(slim, "me/tiny", ask=False, **me).verified.answered
    done = publish(slim, "me/tiny", public=True, ask=False, accept=["unasked"], **me)
    assert (done.public, done.verified.answered) == (True, False)
    # Nothing that others see changes: no answer is needed.
    assert not publish(slim, "me/tiny", public=True, ask=False, **me).changed
    (slim / "NOTICE").write_text("new")
    with pytest.raises(PublishError, match="unasked"):
        publish(slim, "me/tiny", public=True, ask=False, **me)


def test_without_what_runs_models(
    hub: StandInHub, me: dict[str, str], slim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be published where nothing can be loaded, and the plan and the report say so."""
    monkeypatch.setattr("chatdoctor_hub.hub.asking._NEEDED", ("torch", "no_such_package"))
    concerns = {one.kind: one for one in plan(slim, "me/tiny", public=True, **me).concerns}
    assert concerns["unasked"].weight == "note"
    assert "no_such_package" in concerns["unasked"].what
    done = publish(slim, "me/tiny", public=True, **me)
    assert (done.public, done.verified.why_not) == (True, "no_such_package is not installed")


def test_an_adapter_whose_base_is_here(
    hub: StandInHub, me: dict[str, str], made_run: Path, tmp_path: Path
) -> None:
    """It is loaded on the base of this machine, whose place is not published."""
    from chatdoctor_hub.release import prepare_release

    made = prepare_release(made_run, tmp_path / "adapter", license="apache-2.0", accept_licences=True)
    done = publish(made.path, "me/adapter", **me)
    assert done.verified.answered
    files = hub.repo("me/adapter").files("main")
    assert not [name for name, data in files.items() if str(made_run.parent).encode() in data]


def test_what_does_not_load_names_the_repository(
    hub: StandInHub, me: dict[str, str], slim: Path, tmp_path: Path
) -> None:
    config = json.loads((slim / "config.json").read_text())
    (slim / "config.json").write_text(json.dumps({**config, "hidden_size": 16}))
    with pytest.raises(ModelFormatError) as told:
        publish(recorded(slim), "me/tiny", **me)
    assert str(told.value).startswith("me/tiny@main")
    with pytest.raises(ModelFormatError) as told:
        verify("me/tiny", **me)
    assert "/tmp" not in str(told.value)
    assert "chatdoctor-verify" not in str(told.value)

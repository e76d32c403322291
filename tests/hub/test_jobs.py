"""Recipes as jobs of the Hub: what becomes of those that are submitted, and one that really tunes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from stand_in_hub import Fault, StandInHub

from chatdoctor_hub.errors import ConfigError, HubAccessError, HubError
from chatdoctor_hub.hub import publish
from chatdoctor_hub.hub.job_request import JobRequest, request_job
from chatdoctor_hub.hub.jobs import StartedJob, follow, submit
from chatdoctor_hub.training.recipe import RecipeConfig

RECIPE = {"base": "me/base", "data": "me/talks", "output": "runs/my-doctor"}
XET = pytest.mark.parametrize("hub_in_both_modes", ["xet"], indirect=True)


def sources(hub: StandInHub) -> dict[str, Any]:
    """An account of a Hub with the base and the data of the recipe."""
    api = HfApi(endpoint=hub.url, token=hub.token("me"))
    for repo, type in (("me/base", "model"), ("me/talks", "dataset")):
        api.create_repo(repo, repo_type=type, private=True)
        card = b"---\nlicense: mit\n---\n# It\n"
        api.upload_file(repo_id=repo, repo_type=type, path_or_fileobj=card, path_in_repo="README.md")
    return {"endpoint": hub.url, "token": str(api.token)}


def request(me: dict[str, Any], **options: Any) -> JobRequest:
    return request_job(
        RecipeConfig(**RECIPE), flavor="a100-large", release={"license": "mit"}, **{**me, **options}
    )


@pytest.fixture
def me(hub_in_both_modes: StandInHub) -> dict[str, Any]:
    return sources(hub_in_both_modes)


@XET
def test_a_job_ends_with_what_it_published(
    hub_in_both_modes: StandInHub, me: dict[str, Any], slim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, lines = hub_in_both_modes, []
    monkeypatch.setenv("WANDB_API_KEY", "very secret")

    def work(spec: dict[str, Any]) -> Iterator[str]:
        yield "tuned"
        done = publish(slim, "me/out", **me)
        yield f"chatdoctor published {json.dumps(done.to_record())}"
        yield ""

    hub.on_job = work
    job = submit(request(me, repo="out", secrets=["WANDB_API_KEY"]), **me)
    assert job.url == f"{hub.url}/jobs/me/{job.id}"
    done = follow(job, **me, on_line=lines.append)
    assert lines[0] == "tuned"
    assert done.published["repo"] == done.report.repo == "me/out"
    assert done.published["commit"] == done.report.commit == hub.repo("me/out").head
    assert hub.repo("me/out").private
    spec = hub.jobs[job.id].spec
    assert spec["secrets"] == {"HF_TOKEN": me["token"], "WANDB_API_KEY": "very secret"}
    assert spec["timeoutSeconds"] == 12 * 3600
    assert spec["flavor"] == "a100-large"
    assert spec["environment"]["HF_ENDPOINT"] == hub.url
    (script,) = hub.bucket("me/jobs-artifacts").values()
    for secret in (me["token"], "very secret"):
        assert secret not in script.decode() + json.dumps({**spec, "secrets": None}) + str(done.to_record())


@XET
def test_a_job_that_failed_is_told_with_its_address_and_last_words(
    hub_in_both_modes: StandInHub, me: dict[str, Any]
) -> None:
    def work(spec: dict[str, Any]) -> Iterator[str]:
        yield from (f"line {number}" for number in range(100))
        raise RuntimeError("Job failed with exit code: 1")

    hub_in_both_modes.on_job = work
    job = submit(request(me), **me)
    with pytest.raises(HubError) as told:
        follow(job, **me)
    for words in (job.url, "ERROR (Job failed with exit code: 1)", "\n  line 88\n", "\n  line 99"):
        assert words in str(told.value)
    assert "line 87" not in str(told.value)


@XET
def test_a_job_that_says_nothing_of_a_publish_has_failed(
    hub_in_both_modes: StandInHub, me: dict[str, Any]
) -> None:
    hub_in_both_modes.on_job = lambda spec: ("tuned", "bye")
    job = submit(request(me), **me)
    with pytest.raises(HubError, match="found 'bye'"):
        follow(job, **me)


def test_what_may_not_be_published_is_not_tuned(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    me = sources(hub)
    monkeypatch.delenv("MISSING", raising=False)
    reader = {**me, "token": hub.token("me", role="read")}
    for repo, account in (("you/x", me), ("x", reader), ("x", {**me, "token": False})):
        with pytest.raises(HubAccessError):
            request(account, repo=repo)
        with pytest.raises(HubAccessError):  # nor by another account than the one that asked
            submit(replace(request(me), repo=repo), **account)
    with pytest.raises(ConfigError, match="MISSING"):
        submit(request(me, secrets=["MISSING"]), **me)
    assert hub.jobs == {}


@XET
def test_a_job_whose_answer_was_lost_is_not_submitted_twice(
    hub_in_both_modes: StandInHub, me: dict[str, Any], at_once: list[float]
) -> None:
    hub = hub_in_both_modes
    seen = []

    def lose(method: str, path: str, number: int) -> Fault | None:
        if method == "POST" and path.startswith("/api/jobs/") and not seen:
            seen.append(path)
            return Fault("reset", after=True)
        return None

    hub.fault(lose)
    job = submit(request(me), **me)
    assert seen
    assert list(hub.jobs) == [job.id]


def test_a_job_that_is_refused_is_told_in_our_words(hub: StandInHub) -> None:
    me = {"endpoint": hub.url, "token": hub.token("me")}
    lost = StartedJob("0" * 24, "me", f"{hub.url}/jobs/me/{'0' * 24}", "me/x")
    with pytest.raises(HubError, match="the log of"):
        follow(lost, **me)


def python(
    arguments: list[str], folder: Path, environment: dict[str, str], *, stderr: int
) -> subprocess.CompletedProcess[str]:
    """A Python of its own, which sees the same packages and the Hub of the environment."""
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    environment = {**environment, "PATH": os.environ["PATH"], "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.slow
@XET
def test_from_a_recipe_to_a_verified_repository(
    hub_in_both_modes: StandInHub, made_release: Path, tmp_path: Path
) -> None:
    """The script of the job itself runs: it tunes a tiny base from the Hub on a data set from the Hub."""
    import tiny_run

    hub = hub_in_both_modes
    api = HfApi(endpoint=hub.url, token=hub.token("me"))
    for repo, type in (("me/base", "model"), ("me/talks", "dataset")):
        api.create_repo(repo, repo_type=type, private=True)
    first = api.upload_folder(repo_id="me/base", folder_path=made_release.parent / "base")
    talks = made_release.parent / "dialogues.jsonl"
    api.upload_file(
        repo_id="me/talks", repo_type="dataset", path_or_fileobj=talks, path_in_repo="train.jsonl"
    )
    config = RecipeConfig(base="me/base", data="me/talks", output="x", training=tiny_run.SETTINGS)
    (tmp_path / "recipe.yaml").write_text(config.to_yaml(), encoding="utf-8")

    def work(spec: dict[str, Any]) -> Iterator[str]:
        (script,) = hub.bucket("me/jobs-artifacts").values()
        # What comes after the request is not what was asked for.
        api.upload_file(repo_id="me/base", path_or_fileobj=b"{}", path_in_repo="config.json")
        (tmp_path / "job.py").write_bytes(script)
        environment = {**hub.environment(spec["secrets"]["HF_TOKEN"]), **spec["environment"]}
        done = python(["job.py"], tmp_path, environment, stderr=subprocess.STDOUT)
        yield from done.stdout.splitlines()
        if done.returncode:
            raise RuntimeError(f"exit status {done.returncode}")

    hub.on_job = work
    command = [
        "train",
        "recipe.yaml",
        "--on",
        "hf-jobs",
        "--flavor",
        "a100-large",
        "--repo",
        "me/out",
        "--json",
    ]
    command += ["--yes", "--release", "license=mit", "--release", "accept_licences=true"]
    program = ["-c", "from chatdoctor_hub.cli import main; main()", *command, "--release", "merge=true"]
    done = python(program, tmp_path, hub.environment(str(api.token)), stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["published"]["commit"] == hub.repo("me/out").head
    assert record["report"]["prompt"] == "chatdoctor@1"
    assert hub.repo("me/out").private
    assert "Tuning me/base on me/talks" in done.stderr
    manifest = json.loads(hub.repo("me/out").files("main")["chatdoctor.json"])
    assert (manifest["name"], manifest["license"]) == ("out", "mit")
    assert (manifest["base"]["id"], manifest["base"]["revision"]) == ("me/base", first.oid)

"""The stand-in Hub: jobs are taken, run, followed and cancelled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from stand_in_hub import StandInHub


@pytest.fixture
def api(hub: StandInHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token("me"))


def submit(api: HfApi, **options: Any) -> Any:
    return api.run_job(image="python:3.12", command=["python", "-c", "print()"], **options)


def stage(api: HfApi, job: Any) -> str:
    for _ in range(200):
        found = api.inspect_job(job_id=job.id).status.stage
        if found != "RUNNING":
            return found
        time.sleep(0.01)
    return "RUNNING"


def test_a_job_runs_and_can_be_followed(hub: StandInHub, api: HfApi) -> None:
    def work(spec: dict[str, Any]) -> Iterator[str]:
        yield f"with {spec['flavor']}"
        api.create_repo("me/made-by-the-job")
        yield "done"

    hub.on_job = work
    job = submit(api, flavor="a100-large", secrets={"HF_TOKEN": "hidden"}, env={"A": "1"}, timeout="2h")
    assert list(api.fetch_job_logs(job_id=job.id, follow=True)) == ["with a100-large", "done"]
    assert stage(api, job) == "COMPLETED"
    assert hub.repo("me/made-by-the-job").exists
    assert hub.jobs[job.id].spec["secrets"] == {"HF_TOKEN": "hidden"}
    assert hub.jobs[job.id].spec["timeoutSeconds"] == 7200
    assert "hidden" not in str(api.inspect_job(job_id=job.id))
    assert [found.id for found in api.list_jobs(namespace="me")] == [job.id]
    assert "a100-large" in [found.name for found in api.list_jobs_hardware()]


def test_a_job_fails_or_is_cancelled(hub: StandInHub, api: HfApi) -> None:
    def fail(spec: dict[str, Any]) -> Iterator[str]:
        yield "so far"
        raise RuntimeError("out of memory")

    hub.on_job = fail
    failed = submit(api)
    assert stage(api, failed) == "ERROR"
    assert api.inspect_job(job_id=failed.id).status.message == "out of memory"

    def endless(spec: dict[str, Any]) -> Iterator[str]:
        while True:
            time.sleep(0.01)
            yield "still at it"

    hub.on_job = endless
    long = submit(api)
    api.cancel_job(job_id=long.id)
    assert stage(api, long) == "CANCELED"


def test_jobs_are_for_those_who_may(hub: StandInHub, api: HfApi) -> None:
    job = submit(api)
    other = HfApi(endpoint=hub.url, token=hub.token("other"))
    reader = HfApi(endpoint=hub.url, token=hub.token("me", role="read"))
    for attempt in (
        lambda: other.inspect_job(job_id=job.id, namespace="me"),
        lambda: submit(other, namespace="me"),
        lambda: submit(reader),
        lambda: submit(api, flavor="abacus"),
    ):
        with pytest.raises(HfHubHTTPError):
            attempt()


@pytest.mark.parametrize("hub_in_both_modes", ["xet"], indirect=True)
def test_a_script_travels_in_a_bucket(hub_in_both_modes: StandInHub, tmp_path: Path) -> None:
    hub, script = hub_in_both_modes, tmp_path / "train.py"
    script.write_text("print('trained')\n")
    api = HfApi(endpoint=hub.url, token=hub.token("me"))
    for count in (1, 2):
        job = api.run_uv_job(str(script), script_args=["--fast"], flavor="cpu-basic")
        assert list(api.fetch_job_logs(job_id=job.id, follow=True)) == ["The job ran."]
        files = hub.bucket("me/jobs-artifacts")
        assert list(files.values()) == [b"print('trained')\n"] * count
        assert hub.jobs[job.id].spec["command"][-1] == "--fast"
        volume = hub.jobs[job.id].spec["volumes"][0]
        assert f"{volume['path']}/train.py" in files

"""Jobs, and the buckets through which their scripts travel."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stand_in_accounts import check_known, check_namespace
from stand_in_refusal import RefusalError
from stand_in_routing import Asked, answers
from stand_in_storage import now, write_whole
from stand_in_xet import rebuild, sent_files, upload_connection
from starlette.responses import JSONResponse, Response, StreamingResponse

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub

Work = Callable[[dict[str, Any]], Iterable[str]]
FLAVORS = (
    "cpu-basic",
    "cpu-upgrade",
    "t4-small",
    "t4-medium",
    "l4x1",
    "a10g-small",
    "a10g-large",
    "a100-large",
    "h200",
)
OVER = ("COMPLETED", "ERROR", "CANCELED")


@dataclass
class Job:
    """A job that was submitted: its specification as it was sent, its state and its log."""

    id: str
    owner: str
    spec: dict[str, Any]
    stage: str = "RUNNING"
    message: str | None = None
    lines: list[tuple[str, str]] = field(default_factory=list)
    created: str = field(default_factory=now)

    def run(self, work: Work) -> None:
        """Do the work; log line by line."""
        try:
            for line in work(self.spec):
                self.lines.append((now(), line))
                if self.stage != "RUNNING":
                    return
            self.stage = "COMPLETED"
        except Exception as problem:  # noqa: BLE001
            self.stage, self.message = "ERROR", str(problem)

    def shown(self) -> dict[str, Any]:
        """What the Hub tells of it: of the secrets, the names only."""
        keys = (
            "command",
            "arguments",
            "environment",
            "flavor",
            "labels",
            "volumes",
            "dockerImage",
            "spaceId",
        )
        found = {key: self.spec[key] for key in keys if key in self.spec}
        found |= {"secrets": sorted(self.spec.get("secrets", {})), "id": self.id, "createdAt": self.created}
        found["owner"] = {"id": self.owner, "name": self.owner, "type": "user"}
        return {**found, "status": {"stage": self.stage, "message": self.message}}


@answers("GET", "/api/jobs/hardware")
def hardware(asked: Asked) -> Response:
    price = {"unitCostMicroUSD": 1, "unitCostUSD": 0.000001, "unitLabel": "minute"}
    return JSONResponse(
        [{"name": name, "prettyName": name, "cpu": "", "ram": "", **price} for name in FLAVORS]
    )


@answers("POST", "/api/jobs/{name}")
def submit(asked: Asked) -> Response:
    check_namespace(asked.who, asked.parts["name"])
    spec = asked.json
    if spec.get("flavor") not in FLAVORS:
        raise RefusalError(400, f"Invalid flavor: {spec.get('flavor')}")
    job = Job(secrets.token_hex(12), asked.parts["name"], spec)
    asked.hub.jobs[job.id] = job
    threading.Thread(target=job.run, args=(asked.hub.on_job,), name=f"job-{job.id}", daemon=True).start()
    return JSONResponse(job.shown())


@answers("GET", "/api/jobs/{name}")
def jobs(asked: Asked) -> Response:
    check_known(asked.who)
    return JSONResponse([job.shown() for job in asked.hub.jobs.values() if job.owner == asked.parts["name"]])


def _job(asked: Asked) -> Job:
    namespace, number = asked.parts["id"].split("/")
    job = asked.hub.jobs.get(number)
    if job is None or job.owner != namespace or not asked.who.role_in(namespace):
        raise RefusalError(404, "Job not found")
    return job


@answers("GET", "/api/jobs/{id}")
def job(asked: Asked) -> Response:
    return JSONResponse(_job(asked).shown())


@answers("POST", "/api/jobs/{id}/cancel")
def cancel(asked: Asked) -> Response:
    found = _job(asked)
    found.stage = found.stage if found.stage in OVER else "CANCELED"
    return JSONResponse(found.shown())


@answers("GET", "/api/jobs/{id}/logs")
def logs(asked: Asked) -> Response:
    return StreamingResponse(_events(_job(asked)), media_type="text/event-stream")


async def _events(job: Job) -> AsyncIterator[str]:
    sent = 0
    while True:
        over = job.stage in OVER
        for at, line in job.lines[sent:]:
            sent += 1
            yield f"data: {json.dumps({'timestamp': at, 'data': line})}\n\n"
        if over:
            return
        await asyncio.sleep(0.02)


def _bucket(hub: StandInHub, name: str) -> Path:
    return hub.storage.root / "buckets" / name


def bucket_files(hub: StandInHub, name: str) -> dict[str, bytes]:
    """The files of a bucket."""
    folder = _bucket(hub, name) / "files"
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@answers("POST", "/api/buckets/{id}")
def create_bucket(asked: Asked) -> Response:
    check_namespace(asked.who, asked.parts["id"].split("/")[0])
    folder, url = _bucket(asked.hub, asked.parts["id"]), f"{asked.hub.url}/buckets/{asked.parts['id']}"
    if folder.exists():
        raise RefusalError(409, "You already created this bucket", url=url)
    folder.mkdir(parents=True)
    return JSONResponse({"url": url})


def _bucket_to_change(asked: Asked) -> Path:
    folder = _bucket(asked.hub, asked.parts["id"])
    if not folder.exists():
        raise RefusalError(404, "Bucket not found", "RepoNotFound")
    check_namespace(asked.who, asked.parts["id"].split("/")[0])
    return folder


@answers("GET", "/api/buckets/{id}/xet-write-token")
def bucket_token(asked: Asked) -> Response:
    body, headers = upload_connection(asked, _bucket_to_change(asked) / "xet")
    return JSONResponse(body, headers=headers)


@answers("POST", "/api/buckets/{id}/batch")
def batch(asked: Asked) -> Response:
    folder = _bucket_to_change(asked)
    lines = [json.loads(line) for line in asked.body.splitlines() if line.strip()]
    for line in lines:
        sent = [file for file in sent_files(folder / "xet") if file[1] == line.get("xetHash")]
        if line["type"] != "addFile" or not sent or ".." in line["path"].split("/"):
            raise RefusalError(400, f"The stand-in cannot do this in a bucket: {line}")
        store, name, size, _ = sent[0]
        write_whole(folder / "files" / line["path"], rebuild(folder / "xet", store, name, size).read_bytes())
    return JSONResponse({"success": True, "processed": len(lines), "succeeded": len(lines), "failed": []})

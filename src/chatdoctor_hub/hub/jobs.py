"""Tuning on the Hub's own machines: a recipe as a job that ends with a published, verified repository.

Jobs: huggingface_hub's `run_uv_job`, `fetch_job_logs` and `wait_for_job` (1.31 to 2.4).
"""

from __future__ import annotations

import os
import secrets as random
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError, HubError, HubUnreachableError
from chatdoctor_hub.hub.job_request import TOKEN, JobRequest
from chatdoctor_hub.hub.job_script import read_outcome
from chatdoctor_hub.hub.rights import check_writer
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.verifying import VerifyReport, verify

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

__all__ = ["FinishedJob", "StartedJob", "follow", "submit"]

_LABEL = "chatdoctor-submission"
_LAST = 12  # lines of a failed job that its error repeats


@dataclass(frozen=True)
class StartedJob:
    """A job that was submitted.

    Args:
        id: of the job.
        owner: in whose account it runs.
        url: its page.
        repo: full id of what it will publish.
    """

    id: str
    owner: str
    url: str
    repo: str


@dataclass(frozen=True)
class FinishedJob:
    """A job that ended well.

    Args:
        id, url: of the job.
        published: what its `publish` returned: repo, commit, url and more.
        report: of the verification on this machine.
    """

    id: str
    url: str
    published: Mapping[str, Any]
    report: VerifyReport

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return asdict(self)


def submit(
    request: JobRequest,
    *,
    endpoint: str | None = None,
    token: str | bool | None = None,
    on_step: Callable[[str], None] | None = None,
) -> StartedJob:
    """Start a job, which costs money, once it is known that its result may be published.

    Args:
        request: of `request_job`.
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.
        token: of the Hub; HF_TOKEN, or the one that was logged in with, by default. The job gets it too.
        on_step: told what is being done.

    Raises:
        ConfigError: when a secret has no value here.
        HubAccessError: when this account may not write to the repository, or run jobs.
        HubConflictError: when the name is taken by something else.
        HubError: or another of its kinds.
    """
    session = Session(endpoint, token)
    account, repo = check_writer(session, request.repo, "model")
    values = _values(request.secrets, session)
    mark = random.token_hex(8)
    told = StringIO()  # huggingface_hub prints where the script lies, also into a script's JSON
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(told):
        script = Path(folder) / "chatdoctor_job.py"
        script.write_text(request.script, encoding="utf-8")
        job = _started(session, account.name, mark, script, request, values)
    for line in told.getvalue().splitlines():
        (on_step or (lambda step: None))(line)
    return StartedJob(job.id, job.owner.name, job.url, repo)


def follow(
    job: StartedJob,
    *,
    endpoint: str | None = None,
    token: str | bool | None = None,
    on_line: Callable[[str], None] | None = None,
) -> FinishedJob:
    """Wait for a job, and verify what it published.

    Args:
        job: of `submit`.
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.
        token: of the Hub; HF_TOKEN, or the one that was logged in with, by default.
        on_line: told every line of the log.

    Raises:
        HubError: when the job failed, with its address and the last lines of its log.
        DownloadError, ReleaseError, PromptError, PublishError: when what it published does not stand the test.
    """
    session = Session(endpoint, token)
    last: deque[str] = deque(maxlen=_LAST)

    def read() -> None:
        for line in session.api.fetch_job_logs(job_id=job.id, namespace=job.owner, follow=True):
            for part in (part.rstrip() for part in line.splitlines()):
                if part:
                    last.append(part)
                if on_line is not None:
                    on_line(part)

    session.once(f"the log of {job.url}, which runs on,", read)
    ended = session.ask(job.url, lambda: session.api.wait_for_job(job.id, namespace=job.owner))
    stage = str(getattr(ended.status.stage, "value", ended.status.stage))
    if stage != "COMPLETED":
        why = f"{stage} ({ended.status.message})" if ended.status.message else stage
        raise HubError(
            f"{job.url}: expected the job to publish {job.repo}, found {why}; mend what the last lines of its log "
            "name: " + ("\n  " + "\n  ".join(last) if last else "there are none.")
        )
    published = read_outcome(last[-1] if last else "", job.repo)
    # The job has asked the model, on a machine that has room for it.
    report = verify(job.repo, published["commit"], type="model", endpoint=endpoint, token=token, ask=False)
    return FinishedJob(job.id, job.url, published, report)


def _started(
    session: Session, owner: str, mark: str, script: Path, request: JobRequest, values: dict[str, str]
) -> JobInfo:
    def start() -> JobInfo:
        job: JobInfo = session.api.run_uv_job(
            str(script),
            flavor=request.flavor,
            timeout=request.timeout,
            env=dict(request.environment),
            secrets=values,
            labels={_LABEL: mark},
            namespace=owner,
        )
        return job

    try:
        return session.once("the job", start)
    except HubUnreachableError:
        # Only the answer may have been lost, and a second job would cost as much as the first.
        jobs = session.ask("the jobs", lambda: list(session.api.list_jobs(namespace=owner)))
        for job in jobs:
            if (job.labels or {}).get(_LABEL) == mark:
                return job
        raise


def _values(names: Iterable[str], session: Session) -> dict[str, str]:
    found = {name: (session.token if name == TOKEN else os.environ.get(name)) or "" for name in names}
    if missing := [name for name, value in found.items() if not value]:
        raise ConfigError(
            f"secrets: expected values in your environment, found none for {', '.join(missing)}; set them."
        )
    return found

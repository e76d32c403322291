"""`JobRequest`: what a job on the Hub's machines would be, checked before anything is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.hub.finding import check_id
from chatdoctor_hub.hub.job_machine import find_machine, minutes_of
from chatdoctor_hub.hub.job_recipe import check_portable, packages_for
from chatdoctor_hub.hub.job_release import check_settings, settled
from chatdoctor_hub.hub.job_script import script_text
from chatdoctor_hub.hub.job_sources import find_sources
from chatdoctor_hub.hub.rights import check_writer
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.training.recipe import RecipeConfig

__all__ = ["TOKEN", "JobRequest", "request_job"]

TOKEN = "HF_TOKEN"


@dataclass(frozen=True)
class JobRequest:
    """A job as it would be submitted.

    Args:
        repo: full id of the repository that it will publish to.
        flavor: the machine, as the Hub calls it.
        machine: the same for people.
        timeout: after which it is ended: "12h", "90m".
        highest_cost: in US dollars, when it runs as long as that; None where the Hub names no price.
        commits: of the base and the data, by id; the job uses these.
        release: settings of `prepare_release`.
        script: what it runs.
        packages: that the script's header asks for.
        secrets: names of variables that are sent encrypted; their values are read when it is submitted.
        environment: plain variables.
    """

    repo: str
    flavor: str
    machine: str
    timeout: str
    highest_cost: float | None
    commits: Mapping[str, str]
    release: Mapping[str, Any]
    script: str
    packages: tuple[str, ...]
    secrets: tuple[str, ...]
    environment: Mapping[str, str]

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON; of secrets it has the names only."""
        return asdict(self)


def request_job(
    config: RecipeConfig,
    *,
    flavor: str,
    release: Mapping[str, Any],
    repo: str | None = None,
    secrets: Iterable[str] = (),
    timeout: str = "12h",
    package: str = "",
    strategy: str | None = None,
    processes: int | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
) -> JobRequest:
    """The job of a recipe: tune, release, publish privately; the Hub is asked, and nothing is sent.

    Args:
        config: the recipe; base and data are ids on the Hub. The job takes them as they are now.
        flavor: the machine, such as "a100-large".
        release: settings of `prepare_release`: "license", and "merge", "contact" and others. Licences that are
            unknown or in conflict are refused here rather than after hours of tuning, as `prepare_release` does.
        repo: to publish to; by default named like the recipe's output.
        secrets: names of variables of this environment that the job gets too; HF_TOKEN always is one.
        timeout: number with s, m, h or d; the Hub's own default of half an hour is too short for a tuning run.
        package: how pip finds this library there, by default its release of this version.
        strategy: "ddp" or "fsdp2" for several GPUs.
        processes: for it; None: one a GPU.
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.
        token: of the Hub; HF_TOKEN, or the one that was logged in with, by default.

    Raises:
        ConfigError: when the recipe names files of this machine, or a setting is wrong.
        ReleaseFormatError: for a licence that is not known, or in conflict with those of base and data.
        HubAccessError: when this account may not write to the repository.
        HubNotFoundError: when base or data are not on the Hub.
        HubError: or another of its kinds.
    """
    from huggingface_hub import constants

    check_portable(config)
    repo = repo or Path(config.output).name
    check_id(repo)
    names = tuple(dict.fromkeys((TOKEN, *secrets)))
    minutes = _checked_minutes(timeout, names)
    check_settings(release)
    session = Session(endpoint, token)
    _, repo = check_writer(session, repo, "model")
    machine = find_machine(session, flavor)
    sources = find_sources(session, config)
    settings = settled(release, sources)
    packages = packages_for(config, package)
    script = script_text(
        sources.config.model_copy(update={"output": "run"}).to_yaml(),
        repo=repo,
        release=settings,
        commits=sources.models,
        packages=packages,
        strategy=strategy,
        processes=processes,
        kept=constants.HF_JOBS_ARTIFACTS_MOUNT_PATH,
    )
    return JobRequest(
        repo=repo,
        flavor=flavor,
        machine=machine.name,
        timeout=timeout,
        highest_cost=machine.usd(minutes),
        commits=sources.commits,
        release=settings,
        script=script,
        packages=tuple(packages),
        secrets=names,
        environment=_environment(endpoint),
    )


def _environment(endpoint: str | None) -> dict[str, str]:
    found = {"PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if address := endpoint or os.environ.get("HF_ENDPOINT"):
        found["HF_ENDPOINT"] = address
    return found


def _checked_minutes(timeout: str, secrets: Iterable[str]) -> float:
    faults, minutes = [], minutes_of(timeout)
    if not minutes:
        faults.append(f"timeout: a number with s, m, h or d, such as '12h', found {timeout!r}")
    # A value would stand in the shell's history; it is not repeated here either.
    faults += [
        "secrets: names of variables of your environment, found a value or a name with other characters"
        for name in secrets
        if not re.fullmatch(r"[A-Za-z_]\w*", name)
    ]
    if faults or not minutes:
        raise ConfigError(f"Expected {'; '.join(dict.fromkeys(faults))}.", faults)
    return minutes

"""`JobRequest`: what a job on the Hub's machines would be, checked before anything is asked of the Hub."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.hub.finding import check_id
from chatdoctor_hub.hub.job_recipe import check_portable, packages_for
from chatdoctor_hub.hub.job_script import script_text
from chatdoctor_hub.training.recipe import RecipeConfig

__all__ = ["TOKEN", "JobRequest", "request_job"]

TOKEN = "HF_TOKEN"

_TIMEOUT = re.compile(r"\d+(?:\.\d+)?[smhd]?")
# Where nobody chose: the release is private, and the card says that it has terms of its own without a text.
_UNCHOSEN = {"license": "other", "license_name": "not-chosen-yet"}


@dataclass(frozen=True)
class JobRequest:
    """A job as it would be submitted.

    Args:
        repo: id of the repository that it will publish to; without "me/", one's own.
        flavor: the machine, as the Hub calls it.
        timeout: after which it is ended: "12h", "90m".
        script: what it runs.
        packages: that the script's header asks for.
        secrets: names of variables that are sent encrypted; their values are read when it is submitted.
        environment: plain variables.
    """

    repo: str
    flavor: str
    timeout: str
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
    repo: str | None = None,
    release: Mapping[str, Any] | None = None,
    secrets: Iterable[str] = (),
    timeout: str = "12h",
    package: str = "",
    strategy: str | None = None,
    processes: int | None = None,
    endpoint: str | None = None,
) -> JobRequest:
    """The job of a recipe: tune, release, publish privately; nothing is asked of the Hub.

    Args:
        config: the recipe; base and data are ids on the Hub.
        flavor: the machine, such as "a100-large".
        repo: to publish to; by default named like the recipe's output.
        release: settings of `prepare_release`: "license", "merge", "contact" and others. Licences that are
            unknown or in conflict do not stop the job, since what it publishes is private; the card says so.
        secrets: names of variables of this environment that the job gets too; HF_TOKEN always is one.
        timeout: number with s, m, h or d; the Hub's own default of half an hour is too short for a tuning run.
        package: how pip finds this library there, by default its release of this version.
        strategy: "ddp" or "fsdp2" for several GPUs.
        processes: for it; None: one a GPU.
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.

    Raises:
        ConfigError: when the recipe names files of this machine, or a setting is wrong.
        HubError: for a name that the Hub does not take.
    """
    from huggingface_hub import constants

    check_portable(config)
    repo = repo or Path(config.output).name
    check_id(repo)
    names = tuple(dict.fromkeys((TOKEN, *secrets)))
    _check(flavor, timeout, names)
    packages = packages_for(config, package)
    script = script_text(
        config.model_copy(update={"output": "run"}).to_yaml(),
        repo=repo,
        release=_release_settings(release or {}),
        packages=packages,
        strategy=strategy,
        processes=processes,
        kept=constants.HF_JOBS_ARTIFACTS_MOUNT_PATH,
    )
    environment = {"PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if address := endpoint or os.environ.get("HF_ENDPOINT"):
        environment["HF_ENDPOINT"] = address
    return JobRequest(repo, flavor, timeout, script, tuple(packages), names, environment)


def _check(flavor: str, timeout: str, secrets: Iterable[str]) -> None:
    faults = []
    if not re.fullmatch(r"[\w.-]+", flavor):
        faults.append(
            f"flavor: a machine such as 'a100-large' (`hf jobs hardware` lists them), found {flavor!r}"
        )
    if not _TIMEOUT.fullmatch(timeout):
        faults.append(f"timeout: a number with s, m, h or d, such as '12h', found {timeout!r}")
    # A value would stand in the shell's history; it is not repeated here either.
    faults += [
        "secrets: names of variables of your environment, found a value or a name with other characters"
        for name in secrets
        if not re.fullmatch(r"[A-Za-z_]\w*", name)
    ]
    if faults:
        raise ConfigError(f"Expected {'; '.join(dict.fromkeys(faults))}.", faults)


def _release_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `prepare_release`, checked here rather than after hours of tuning.

    Raises:
        ConfigError: for those that it does not have, or not in a job.
        ReleaseFormatError: for a licence that is not known.
    """
    from chatdoctor_hub.release import prepare_release
    from chatdoctor_hub.release.licences import own_licence

    parameters = inspect.signature(prepare_release).parameters.values()
    kinds = {one.name: type(one.default) for one in parameters if isinstance(one.default, (str, bool))}
    faults = [
        f"{name}: {kinds[name].__name__ if name in kinds else 'no setting of that name'}, found {value!r}"
        for name, value in given.items()
        if not isinstance(value, kinds.get(name, ()))
    ]
    if faults:
        raise ConfigError(
            f"Expected settings of a release ({', '.join(sorted(kinds))}), found {len(faults)} fault(s): "
            f"{'; '.join(faults)}.",
            faults,
        )
    settings = {**({} if "license" in given else _UNCHOSEN), "accept_licences": True, **given}
    own_licence(*(str(settings.get(name, "")) for name in ("license", "license_name", "license_link")))
    return settings

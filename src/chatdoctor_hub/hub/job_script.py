"""The script that a job runs: one file with its dependencies inside (PEP 723), which `uv run` starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pprint import pformat
from typing import Any

from chatdoctor_hub.errors import HubError

__all__ = ["read_outcome", "script_text"]

_MARK = "chatdoctor published"
"""Begins the last line of a job that went well; JSON follows."""

_SCRIPT = '''# /// script
# requires-python = ">=3.10"
# dependencies = {packages}
# ///
"""Tunes, releases and publishes; written by `chatdoctor train --on hf-jobs`."""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

RECIPE = """\\
{recipe}"""
COMMITS = {commits}  # of the models
RELEASE = {release}
REPO = {repo}
STRATEGY, PROCESSES = {launch}
KEPT = Path({kept})  # what lies there outlives the job

told = 0.0


def tell(record):
    """A line of the log, at most every ten seconds."""
    global told
    if time.monotonic() - told > 10 or record["step"] == record["steps"]:
        told = time.monotonic()
        print(f"step {{record['step']:.0f}} of {{record['steps']:.0f}}, loss {{record['loss']:.4f}}", flush=True)


def main():
    from chatdoctor_hub.hub import publish
    from chatdoctor_hub.models import locate
    from chatdoctor_hub.release import prepare_release
    from chatdoctor_hub.training import RecipeConfig, fine_tune, launch

    os.chdir(tempfile.mkdtemp())
    Path("recipe.yaml").write_text(RECIPE, encoding="utf-8")
    config = RecipeConfig.load("recipe.yaml")
    for model, commit in COMMITS.items():
        # The cache of this job then takes that commit for the main branch, whatever that is by now.
        main = locate(model, commit).parents[1] / "refs" / "main"
        main.parent.mkdir(exist_ok=True)
        main.write_text(commit)
    print(f"Tuning {{config.base}} on {{', '.join(source.path for source in config.data)}}", flush=True)
    if STRATEGY:
        run = launch(config, STRATEGY, PROCESSES, on_step=tell)
    else:
        run = fine_tune(config, on_step=tell)
    try:
        release = prepare_release(run, REPO.rpartition("/")[2], **RELEASE)
        done = publish(release.path, REPO, on_step=lambda step: print(step, flush=True))
    except BaseException:
        if KEPT.is_dir():
            shutil.copytree(run.path, KEPT / "run", dirs_exist_ok=True)
            print("The run itself is good; it was kept in the job's bucket, as 'run'.", flush=True)
        raise
    print("{mark}", json.dumps(done.to_record()), flush=True)


if __name__ == "__main__":
    from chatdoctor_hub.errors import ChatDoctorError

    try:
        main()
    except ChatDoctorError as error:
        sys.exit(f"chatdoctor: {{error}}")
'''


def script_text(
    recipe: str,
    *,
    repo: str,
    release: Mapping[str, Any],
    commits: Mapping[str, str],
    packages: Sequence[str],
    strategy: str | None = None,
    processes: int | None = None,
    kept: str = "/data",
) -> str:
    """The script.

    Args:
        recipe: the whole recipe in YAML.
        repo: id of the repository to publish to.
        release: settings of `prepare_release`.
        commits: of the models that the recipe names, by id.
        packages: requirements of pip.
        strategy: of `launch`, None for one process.
        processes: for it; None: one a GPU.
        kept: folder whose files outlive the job.
    """
    return _SCRIPT.format(
        packages=json.dumps(list(packages)),
        recipe=recipe.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').replace("\r", "\\r"),
        commits=pformat(dict(commits), width=100),
        release=pformat(dict(release), width=100, sort_dicts=False),
        repo=repr(repo),
        launch=repr((strategy, processes)),
        kept=repr(kept),
        mark=_MARK,
    )


def read_outcome(line: str, repo: str) -> dict[str, Any]:
    """What the last line of a log says was published.

    Args:
        line: of the log.
        repo: full id of what was to be published.

    Raises:
        HubError: when it says something else.
    """
    mark, _, record = line.strip().partition("{")
    try:
        found = json.loads("{" + record) if mark.strip() == _MARK else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("repo") != repo or not isinstance(found.get("commit"), str):
        raise HubError(
            f"{repo}: expected the job's log to end with what was published, found {line.strip()[:200]!r}; read the "
            "log, and look at the repository."
        )
    return found

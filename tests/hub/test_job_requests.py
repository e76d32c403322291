"""Recipes as jobs of the Hub: what would be submitted, and what is refused before that."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from stand_in_hub import StandInHub
from typer.testing import CliRunner

from chatdoctor_hub.cli.app import app
from chatdoctor_hub.errors import ConfigError, HubError, ReleaseFormatError
from chatdoctor_hub.hub.job_request import JobRequest, request_job
from chatdoctor_hub.hub.job_script import read_outcome, script_text
from chatdoctor_hub.training.recipe import RecipeConfig, TrainingConfig

RECIPE = {"base": "org/base", "data": "org/talks", "output": "runs/my-doctor"}
REQUEST = {"flavor": "a100-large"}


def request(**options: Any) -> JobRequest:
    return request_job(RecipeConfig(**RECIPE), **{**REQUEST, **options})


def constants_of(script: str) -> dict[str, Any]:
    """What the script sets at its top."""
    found: dict[str, Any] = {}
    for node in ast.parse(script).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("RECIPE", "RELEASE", "REPO"):
                found[name] = ast.literal_eval(node.value)
    return found


def test_a_job_says_all_that_it_needs(tmp_path: Path) -> None:
    asked = request(secrets=["WANDB_API_KEY"], repo="me/out", release={"license": "mit", "merge": True})
    found = constants_of(asked.script)
    assert found["REPO"] == "me/out"
    assert found["RELEASE"] == {"accept_licences": True, "license": "mit", "merge": True}
    (tmp_path / "recipe.yaml").write_text(found["RECIPE"], encoding="utf-8")
    config = RecipeConfig.load(tmp_path / "recipe.yaml")
    assert config == RecipeConfig(**{**RECIPE, "output": "run"})
    assert asked.secrets == ("HF_TOKEN", "WANDB_API_KEY")
    assert asked.timeout == "12h"
    header = asked.script.split("# ///\n")[0]
    assert f"# dependencies = {json.dumps(list(asked.packages))}" in header
    assert asked.packages[0].startswith("chatdoctor-hub[train]==")


def test_what_the_recipe_needs_is_installed() -> None:
    training = TrainingConfig(loggers=("wandb", "trackio"), quantization="4bit")
    config = RecipeConfig(**RECIPE, training=training)
    asked = request_job(
        config, flavor="t4-small", package="chatdoctor-hub[train] @ https://example.org/x.whl"
    )
    assert asked.packages == (
        "chatdoctor-hub[train] @ https://example.org/x.whl",
        "trackio",
        "wandb",
        "bitsandbytes",
    )


def test_without_a_choice_the_name_is_that_of_the_run_and_the_licence_is_open() -> None:
    found = constants_of(request().script)
    assert found["REPO"] == "my-doctor"
    assert found["RELEASE"]["license"] == "other"


@pytest.mark.parametrize(
    "text", ['a """quoted""" title', "back\\slash \\n {braces}", "naïve 医生\r\n", "'''"]
)
def test_any_recipe_comes_through_whole(text: str) -> None:
    script = script_text(text, repo="me/x", release={"contact": text}, packages=[text])
    assert constants_of(script)["RECIPE"] == text
    assert constants_of(script)["RELEASE"] == {"contact": text}


def test_the_files_of_this_machine_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org/here").mkdir(parents=True)
    config = RecipeConfig(
        base="org/here",
        data=["org/talks", "./talks.jsonl", "org/talks.json", {"path": str(tmp_path)}],
        validation="~/held-out",
        safety_mix={"data": "refusals.jsonl"},
        safe_lora={"unaligned": "/models/base"},
        prompt="chatdoctor@1 -> mine.yaml",
        output="x",
    )
    with pytest.raises(ConfigError) as told:
        request_job(config, flavor="t4-small")
    fields = [fault.split(":")[0] for fault in told.value.args[1]]
    assert fields == [
        *("base", "safe_lora.unaligned", "safe_lora.aligned"),
        *("data.1.path", "data.2.path", "data.3.path", "validation.path", "safety_mix.data", "prompt"),
    ]
    assert "chatdoctor publish" in str(told.value)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"flavor": "a100 large"}, ConfigError, "flavor"),
        ({"timeout": "half a day"}, ConfigError, "timeout"),
        ({"secrets": ["KEY=hidden"]}, ConfigError, "secrets"),
        ({"release": {"licence": "mit"}}, ConfigError, "licence: no setting"),
        ({"release": {"merge": "yes"}}, ConfigError, "merge: bool"),
        ({"release": {"license": "mitt"}}, ReleaseFormatError, "did you mean mit"),
        ({"repo": "me/bad name"}, HubError, "repo id"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as told:
        request(**options)
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "chatdoctor published",
        'chatdoctor published {"repo": "me/x"}',
        'chatdoctor published {"repo": "you/x", "commit": "1"}',
        'said: chatdoctor published {"repo": "me/x", "commit": "1"}',
        'chatdoctor published {"repo": "me/x", "commit": "1"',
    ],
)
def test_only_the_exact_last_line_is_believed(line: str) -> None:
    with pytest.raises(HubError, match="expected the job's log to end"):
        read_outcome(line, "me/x")
    assert read_outcome('chatdoctor published {"repo": "me/x", "commit": "1"}\n', "me/x")["commit"] == "1"


# The command line


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(RecipeConfig(**RECIPE).to_yaml(), encoding="utf-8")
    return file


def test_a_dry_run_prints_the_job_and_sends_nothing(recipe: Path, hub: StandInHub) -> None:
    command = ["train", str(recipe), "--on", "hf-jobs", "--flavor", "a100-large", "--dry-run"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "# flavor: a100-large" in shown.output
    ast.parse(shown.output)
    more = ["--json", "--data", "me/more", "--repo", "me/out", "--release", "license=mit", "--timeout", "3h"]
    record = json.loads(CliRunner().invoke(app, [*command, *more]).stdout)
    assert record["timeout"] == "3h"
    found = constants_of(record["script"])
    assert "me/more" in found["RECIPE"]
    assert found["RELEASE"]["license"] == "mit"
    assert hub.requests == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--on", "hf-jobs"], "--flavor"),
        (["--flavor", "t4-small"], "--on hf-jobs with --flavor"),
        (["--dry-run"], "--on hf-jobs with --dry-run"),
        (["--on", "hf-jobs", "--flavor", "t4-small", "--plan"], "without --plan"),
        (["--on", "hf-jobs", "--flavor", "t4-small", "--fresh"], "without --fresh"),
        (["--on", "hf-jobs", "--flavor", "t4-small", "--base", "/models/x"], "base: '/models/x'"),
    ],
)
def test_options_that_do_not_go_together(recipe: Path, options: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["train", str(recipe), *options])
    assert done.exit_code == 2
    assert words in done.stderr

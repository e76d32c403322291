"""Recipes as jobs of the Hub: what would be submitted, and what is refused before that."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from stand_in_hub import StandInHub
from typer.testing import CliRunner

from chatdoctor_hub.cli.app import app
from chatdoctor_hub.errors import ConfigError, HubError, HubNotFoundError, ReleaseFormatError
from chatdoctor_hub.hub.job_request import JobRequest, request_job
from chatdoctor_hub.hub.job_script import read_outcome, script_text
from chatdoctor_hub.training.recipe import RecipeConfig, TrainingConfig

RECIPE = {"base": "org/base", "data": "org/talks", "output": "runs/my-doctor"}
REQUEST = {"flavor": "a100-large", "release": {"license": "mit"}}


def request(**options: Any) -> JobRequest:
    return request_job(RecipeConfig(**RECIPE), **{**REQUEST, **options})


@pytest.fixture
def me(hub: StandInHub) -> dict[str, Any]:
    """An account of a Hub with the base and the data of the recipe."""
    api = HfApi(endpoint=hub.url, token=hub.token("me"))
    for repo, type, card in (
        ("me/base", "model", "license: apache-2.0"),
        ("me/talks", "dataset", "license: cc-by-4.0"),
        ("me/more", "dataset", "license: mit"),
    ):
        api.create_repo(repo, repo_type=type, private=True)
        text = f"---\n{card}\n---\n# It\n".encode()
        api.upload_file(repo_id=repo, repo_type=type, path_or_fileobj=text, path_in_repo="README.md")
    return {"endpoint": hub.url, "token": api.token}


def asked(me: dict[str, Any], recipe: dict[str, Any] | None = None, **options: Any) -> JobRequest:
    config = RecipeConfig(**{**RECIPE, "base": "me/base", "data": "me/talks", **(recipe or {})})
    return request_job(config, **{**REQUEST, **options}, **me)


def constants_of(script: str) -> dict[str, Any]:
    """What the script sets at its top."""
    found: dict[str, Any] = {}
    for node in ast.parse(script).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("COMMITS", "RECIPE", "RELEASE", "REPO"):
                found[name] = ast.literal_eval(node.value)
    return found


def test_a_job_says_all_that_it_needs(tmp_path: Path, me: dict[str, Any], hub: StandInHub) -> None:
    release = {"license": "mit", "merge": True}
    before = len(hub.requests)
    found = asked(me, secrets=["WANDB_API_KEY"], repo="me/out", release=release)
    assert {method for method, _, _ in hub.requests[before:]} == {"GET"}
    base, talks = hub.repo("me/base").head, hub.repo("me/talks", "dataset").head
    assert found.commits == {"me/base": base, "me/talks": talks}
    said = constants_of(found.script)
    assert (said["REPO"], said["COMMITS"]) == ("me/out", {"me/base": base})
    assert said["RELEASE"] == found.release == {**release, "base_license": "apache-2.0"}
    (tmp_path / "recipe.yaml").write_text(said["RECIPE"], encoding="utf-8")
    config = RecipeConfig.load(tmp_path / "recipe.yaml")
    data = {"path": "me/talks", "revision": talks, "licence": "cc-by-4.0"}
    assert config == RecipeConfig(base="me/base", data=data, output="run")
    assert found.secrets == ("HF_TOKEN", "WANDB_API_KEY")
    header = found.script.split("# ///\n")[0]
    assert f"# dependencies = {json.dumps(list(found.packages))}" in header
    assert found.packages[0].startswith("chatdoctor-hub[train]==")


def test_what_the_recipe_needs_is_installed(me: dict[str, Any]) -> None:
    recipe = {"training": TrainingConfig(loggers=("wandb", "trackio"), quantization="4bit")}
    found = asked(me, recipe, package="chatdoctor-hub[train] @ https://example.org/x.whl")
    assert found.packages == (
        "chatdoctor-hub[train] @ https://example.org/x.whl",
        "trackio",
        "wandb",
        "bitsandbytes",
    )


def test_without_a_choice_the_name_is_that_of_the_run_in_ones_own_account(me: dict[str, Any]) -> None:
    found = asked(me)
    assert found.repo == "me/my-doctor"
    assert constants_of(found.script)["REPO"] == "me/my-doctor"


@pytest.mark.parametrize(
    ("timeout", "minutes"), [("12h", 720), ("90m", 90), ("90", 1.5), ("30s", 0.5), ("0.5d", 720)]
)
def test_the_highest_cost(me: dict[str, Any], timeout: str, minutes: float) -> None:
    assert asked(me, timeout=timeout).highest_cost == pytest.approx(minutes * 1e-6)


@pytest.mark.parametrize("flavor", ["a100 large", "a100-larg"])
def test_a_machine_that_the_hub_does_not_have(me: dict[str, Any], flavor: str) -> None:
    with pytest.raises(ConfigError, match=f"found '{flavor}'; did you mean a100-large"):
        asked(me, flavor=flavor)


def test_a_base_or_data_that_are_not_on_the_hub(me: dict[str, Any]) -> None:
    with pytest.raises(HubNotFoundError, match="me/nobase: expected a repository"):
        asked(me, {"base": "me/nobase"})
    with pytest.raises(HubNotFoundError, match="me/base: expected a repository"):
        asked(me, {"data": "me/base"})
    with pytest.raises(HubNotFoundError, match="me/refusals: expected a repository"):
        asked(me, {"safety_mix": {"data": "me/refusals"}})


def test_licences_are_looked_at_before_the_hours_of_tuning(me: dict[str, Any]) -> None:
    api = HfApi(**me)
    with pytest.raises(ConfigError, match=r"license: expected the licence .*--release license=apache-2\.0"):
        asked(me, release={})
    card = b"---\nlicense: cc-by-nc-4.0\n---\n"
    api.upload_file(repo_id="me/talks", repo_type="dataset", path_or_fileobj=card, path_in_repo="README.md")
    with pytest.raises(ReleaseFormatError, match=r"me/talks: .*a conflict.*accept_licences=true"):
        asked(me)
    accepted = asked(me, release={"license": "mit", "accept_licences": True})
    assert accepted.release["accept_licences"]
    api.upload_file(repo_id="me/base", path_or_fileobj=b"# It", path_in_repo="README.md")
    with pytest.raises(ReleaseFormatError, match=r"base model: expected a known one, found 'none stated'"):
        asked(me, {"data": "me/more"})
    known = asked(me, {"data": "me/more"}, release={"license": "mit", "base_license": "mit"})
    assert known.release == {"license": "mit", "base_license": "mit"}


@pytest.mark.parametrize(
    "text", ['a """quoted""" title', "back\\slash \\n {braces}", "naïve 医生\r\n", "'''"]
)
def test_any_recipe_comes_through_whole(text: str) -> None:
    script = script_text(text, repo="me/x", release={"contact": text}, commits={text: "1"}, packages=[text])
    assert constants_of(script)["RECIPE"] == text
    assert constants_of(script)["RELEASE"] == {"contact": text}
    assert constants_of(script)["COMMITS"] == {text: "1"}


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
        request_job(config, **REQUEST)
    fields = [fault.split(":")[0] for fault in told.value.args[1]]
    assert fields == [
        *("base", "safe_lora.unaligned", "safe_lora.aligned"),
        *("data.1.path", "data.2.path", "data.3.path", "validation.path", "safety_mix.data", "prompt"),
    ]
    assert "chatdoctor publish" in str(told.value)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"timeout": "half a day"}, ConfigError, "timeout"),
        ({"secrets": ["KEY=hidden"]}, ConfigError, "secrets"),
        ({"timeout": "0h"}, ConfigError, "timeout"),
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
    config = RecipeConfig(**{**RECIPE, "base": "me/base", "data": "me/talks"})
    file.write_text(config.to_yaml(), encoding="utf-8")
    return file


@pytest.fixture
def logged_in(me: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_ENDPOINT is read when huggingface_hub is imported."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", me["endpoint"])
    monkeypatch.setenv("HF_TOKEN", me["token"])


COMMAND = ["--on", "hf-jobs", "--flavor", "a100-large", "--release", "license=mit"]


@pytest.mark.usefixtures("logged_in")
def test_a_dry_run_prints_the_job_and_sends_nothing(recipe: Path, hub: StandInHub) -> None:
    command, before = ["train", str(recipe), *COMMAND, "--dry-run"], len(hub.requests)
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "# flavor: a100-large" in shown.output
    assert "# repo: me/my-doctor" in shown.output
    assert hub.repo("me/base").head in shown.output
    ast.parse(shown.output)
    more = ["--json", "--data", "me/more", "--repo", "me/out", "--timeout", "3h"]
    record = json.loads(CliRunner().invoke(app, [*command, *more]).stdout)
    assert (record["timeout"], record["repo"]) == ("3h", "me/out")
    assert record["highest_cost"] == pytest.approx(180e-6)
    found = constants_of(record["script"])
    assert "me/more" in found["RECIPE"]
    assert found["RELEASE"]["license"] == "mit"
    assert {method for method, _, _ in hub.requests[before:]} == {"GET"}


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("answer", ["", "n\n", "\n"])
def test_a_job_is_paid_for_only_after_a_yes(recipe: Path, hub: StandInHub, answer: str) -> None:
    done = CliRunner().invoke(app, ["train", str(recipe), *COMMAND], input=answer)
    assert done.exit_code == 2
    for words in (
        "a100-large",
        "for at most 12h: at most 0.00 US dollars",
        "to me/my-doctor, private",
        "mit",
    ):
        assert words in done.stdout
    assert f"from me/base at {hub.repo('me/base').head}" in done.stdout
    assert "no job was submitted" in done.stderr
    assert hub.jobs == {}


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize(("more", "answer"), [(["--yes"], ""), ([], "y\n")])
def test_after_a_yes_it_is_submitted(
    recipe: Path, hub: StandInHub, more: list[str], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[JobRequest] = []

    def submit(request: JobRequest, **options: Any) -> None:
        seen.append(request)
        raise HubError("as far as this")

    monkeypatch.setattr("chatdoctor_hub.hub.jobs.submit", submit)
    done = CliRunner().invoke(app, ["train", str(recipe), *COMMAND, *more], input=answer)
    assert "as far as this" in done.stderr
    assert [request.repo for request in seen] == ["me/my-doctor"]
    assert ("Submit it?" in done.stdout) == (not more)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--on", "hf-jobs"], "--flavor"),
        (["--flavor", "t4-small"], "--on hf-jobs with --flavor"),
        (["--dry-run"], "--on hf-jobs with --dry-run"),
        (["--yes"], "--on hf-jobs with --yes"),
        (["--on", "hf-jobs", "--flavor", "t4-small", "--plan"], "without --plan"),
        (["--on", "hf-jobs", "--flavor", "t4-small", "--fresh"], "without --fresh"),
        (["--on", "hf-jobs", "--flavor", "t4-small", "--base", "/models/x"], "base: '/models/x'"),
    ],
)
def test_options_that_do_not_go_together(recipe: Path, options: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["train", str(recipe), *options])
    assert done.exit_code == 2
    assert words in done.stderr

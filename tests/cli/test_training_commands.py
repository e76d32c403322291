"""`chatdoctor recipes` and `chatdoctor train`, from the verb to the run folder."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import Result
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from chatdoctor_hub.cli.training import training_app
from chatdoctor_hub.cli.training_display import TrainingDisplay
from chatdoctor_hub.training.recipe import RecipeConfig, recipe_text, recipes

ALONE = "from chatdoctor_hub.cli.training import training_app; training_app()"
QUICK = ("training.lr=1e-2", "training.batch_size=8", "training.workers=1", "training.precision=float32")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(training_app, [str(item) for item in arguments], env={"COLUMNS": "200"})


def refused(ended: Result, *parts: str) -> None:
    """One sentence that says what was expected and found, and all the given parts."""
    assert ended.exit_code == 2, (ended.stdout, ended.stderr)
    (said,) = ended.stderr.splitlines()
    assert said.startswith("chatdoctor: ")
    assert "xpected" in said
    assert said.endswith(".")
    for part in parts:
        assert part in said, said


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A tiny base and dialogues on disk; not to be changed."""
    pytest.importorskip("peft")
    import tiny_run

    from chatdoctor_hub.prompts import PromptPair
    from chatdoctor_hub.training import TinyBaseConfig, train_tiny_base

    folder = tmp_path_factory.mktemp("training-cli")
    talks = tiny_run.dialogues()
    lines = "".join(json.dumps({"messages": talk.to_messages()}) + "\n" for talk in talks)
    (folder / "dialogues.jsonl").write_text(lines, encoding="utf-8")
    (folder / "base").mkdir()
    shape = TinyBaseConfig(
        vocabulary=600,
        hidden_size=32,
        layers=1,
        heads=2,
        mlp_size=64,
        context=512,
        training=tiny_run.SETTINGS,
    )
    train_tiny_base(talks, talks[:6], PromptPair.load("chatdoctor@1"), folder / "base", shape)
    return SimpleNamespace(base=folder / "base", data=folder / "dialogues.jsonl")


@pytest.fixture
def given(made: SimpleNamespace, tmp_path: Path) -> list[object]:
    """The command line of a run that takes a second."""
    quick = [part for setting in QUICK for part in ("--set", setting)]
    return ["--base", made.base, "--data", made.data, "--output", tmp_path / "run", *quick]


def test_all_recipes_are_told_in_a_few_lines_each() -> None:
    ended = call("recipes")
    assert (ended.exit_code, ended.stderr) == (0, "")
    for recipe in recipes():
        for part in (recipe.name, recipe.title, recipe.adapter, recipe.prompt, recipe.source):
            assert part in ended.stdout
    assert len(ended.stdout.splitlines()) == 4 * len(recipes()) + 1


def test_a_recipe_is_printed_as_it_is_written() -> None:
    ended = call("recipes", "chatdoctor-lora")
    assert (ended.exit_code, ended.stdout) == (0, recipe_text("chatdoctor-lora"))
    refused(call("recipes", "chatdoctor-lroa"), "did you mean 'chatdoctor-lora'?", "ptst-gsm8k")


def test_recipes_and_faults_need_nothing_but_the_base_dependencies() -> None:
    heavy = ("torch", "transformers", "peft", "accelerate", "numpy", "pyarrow", "matplotlib")
    blocked = f"import sys; sys.modules.update(dict.fromkeys({heavy!r})); {ALONE}"
    ended = subprocess.run([sys.executable, "-c", blocked, "recipes"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "ptst-gsm8k" in ended.stdout
    faulty = [sys.executable, "-c", blocked, "train", "default", "--set", "training.epoch=1"]
    ended = subprocess.run(faulty, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "did you mean 'epochs'?" in ended.stderr


def test_every_fault_is_told_at_once() -> None:
    refused(
        call("train", "chatdoctor-lora", "--base", "b", "--set", "training.lr=fast", "--set", "adapter.rr=1"),
        "chatdoctor-lora: expected a valid RecipeConfig, found 4 fault(s)",
        "data: missing",
        "output: missing",
        "training.lr: input should be a valid number, found 'fast'",
        "adapter.rr: no such setting, did you mean 'r'?",
    )
    refused(call("train", "chatdoctor-lroa"), "did you mean 'chatdoctor-lora'?")
    refused(call("train", "gone.yaml"), "gone.yaml", "check the path")
    refused(call("train", "default", "--set", "lr", "--set", "seed=["), "'lr': expected key=value", "seed: ")
    refused(call("train", "default", "--seed", "-1"), "seed: input should be greater than or equal to 0")


def test_what_the_options_ask_for_together_must_go_together() -> None:
    refused(call("train", "default", "--plan", "--smoke"), "one of --plan, --smoke and --launch")
    refused(call("train", "default", "--processes", "2", "--json"), "--launch", "--processes", "--json")
    refused(call("train", "default", "--fresh", "--plan"), "--fresh", "found --plan")
    assert call("train", "default", "--launch", "horovod").exit_code == 2
    assert call("train", "default", "--launch", "ddp", "--processes", "1").exit_code == 2


def test_a_run_from_the_command_to_its_folder(given: list[object], tmp_path: Path) -> None:
    ended = call("train", "default", *given, "--set", "training.epochs=2", "--seed", 7)
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8"))
    assert (recipe["name"], recipe["seed"], recipe["training"]["epochs"]) == ("default", 7, 2.0)
    assert recipe["training"]["lr"] == 1e-2
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    told = [line for line in ended.stdout.splitlines() if line.startswith("step ")]
    assert told[-1].startswith(f"step {len(records)} of {len(records)}  loss {records[-1]['loss']:.4f}")
    assert any(f"validation {record['validation_loss']:.4f}" in told[-1] for record in records[-1:])
    assert re.search(r"tokens/s +[\d,]+ *\n", ended.stdout)
    assert re.search(rf"loss +{records[0]['loss']:.4f} -> {records[-1]['loss']:.4f} *\n", ended.stdout)
    assert ended.stdout.splitlines()[-1] == f"Next: chatdoctor chat {tmp_path / 'run' / 'adapter'}"
    # What is trained on is nobody's business here.
    assert "I have had a" not in ended.stdout + ended.stderr


def test_a_finished_run_is_replaced_only_when_told(given: list[object], tmp_path: Path) -> None:
    assert call("train", "default", *given).exit_code == 0
    made = (tmp_path / "run" / "run.json").read_bytes()
    again = call("train", "default", *given, "--seed", 3)
    assert again.exit_code == 2
    assert "replace it with --fresh" in again.stderr
    assert (tmp_path / "run" / "run.json").read_bytes() == made
    assert call("train", "default", *given, "--fresh", "--seed", 3).exit_code == 0
    assert RecipeConfig.load(tmp_path / "run" / "recipe.yaml").seed == 3
    assert call("train", tmp_path / "run" / "recipe.yaml", "--output", tmp_path / "again").exit_code == 0
    assert (tmp_path / "again" / "run.json").is_file()


def test_a_run_stopped_by_ctrl_c_goes_on_with_the_same_command(given: list[object], tmp_path: Path) -> None:
    command = [sys.executable, "-c", ALONE, "train", "default", *map(str, given)]
    command += ["--set", "training.epochs=30", "--set", "training.checkpoints=20"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    # Some way into the run, so that there is something to go on from.
    for line in process.stdout:
        if re.match(r"step \d+ of", line) and int(line.split()[1].replace(",", "")) > 20:
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "The same command goes on where it stopped." in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"went on after step +\d+", ended.stdout)


def test_a_plan_trains_nothing_and_shows_an_example(given: list[object], tmp_path: Path) -> None:
    ended = call("train", "default", *given, "--plan")
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    assert "Rest, drink water" in ended.stdout
    assert not (tmp_path / "run").exists()
    ended = call("train", "default", *given, "--plan", "--json")
    assert ended.exit_code == 0
    assert isinstance(json.loads(ended.stdout), dict)


def test_a_smoke_test_trains_nothing_that_is_kept(given: list[object], tmp_path: Path) -> None:
    ended = call("train", "default", *given, "--smoke")
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    assert "Smoke test" in ended.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_write_the_same_kind_of_run(given: list[object], tmp_path: Path) -> None:
    ended = call("train", "default", *given, "--launch", "ddp", "--processes", 2)
    assert ended.exit_code == 0, (ended.stdout, ended.stderr)
    assert (tmp_path / "run" / "run.json").is_file()
    assert ended.stdout.splitlines()[-1] == f"Next: chatdoctor chat {tmp_path / 'run' / 'adapter'}"


def shown(show: Callable[[TrainingDisplay], Any], *, terminal: bool = False) -> str:
    printed = io.StringIO()
    show(TrainingDisplay(Console(file=printed, width=100, force_terminal=terminal)))
    return printed.getvalue()


def test_a_record_is_shown_with_its_units() -> None:
    record = {
        "trained_parameters": 1_234_567,
        "peak_bytes": 3 * 2**30,
        "seconds": 3725.0,
        "real_share": 0.985,
        "why_not_fused": None,
        "skipped": {"too long [bold]": 3},
        "length_histogram": {"0-127": 40, "128-255": 10},
    }
    printed = shown(lambda display: display.plan(record, Text("one example")))
    for part in (
        "1,234,567",
        "3.00 GiB",
        "1 h 02 min",
        "98.5 %",
        "unknown",
        "too long [bold]",
        "one example",
    ):
        assert part in printed
    bars = [line.count("█") for line in printed.splitlines() if "█" in line]
    assert bars == [30, round(30 / 4)]


def test_the_bar_of_a_run_shows_loss_rate_and_what_is_left() -> None:
    def show(display: TrainingDisplay) -> None:
        with display.progress() as on_step:
            for step in (1, 2, 3):
                on_step({"step": step, "steps": 3, "tokens": 100 * step, "loss": 2.0, "lr": 1e-4})
            on_step({"step": 3, "steps": 3, "tokens": 300, "loss": 1.5, "lr": 1e-4, "validation_loss": 1.25})

    printed = shown(show, terminal=True)
    for part in ("step 3 of 3", "loss 1.5000", "validation 1.2500", "lr 1.00e-04", "tokens/s"):
        assert part in printed


def test_without_a_terminal_a_run_prints_some_lines_only() -> None:
    def show(display: TrainingDisplay) -> None:
        with display.progress() as on_step:
            for step in range(1, 1001):
                record = {"step": step, "steps": 1000, "tokens": step, "loss": 1.0, "lr": 1e-4}
                on_step(record | ({"validation_loss": 2.0, "harmful_refused": 0.5} if step == 333 else {}))

    lines = shown(show).splitlines()
    assert len(lines) == 11
    assert [line for line in lines if "validation" in line] == [
        line for line in lines if line.startswith("step 333 of 1,000  loss 1.0000  validation 2.0000")
    ]
    assert any("harmful refused 50 %" in line for line in lines)
    assert all(line.endswith("left") for line in lines[:-1])


def test_lines_where_the_length_of_the_run_is_not_known() -> None:
    def show(display: TrainingDisplay) -> None:
        with display.progress() as on_step:
            on_step({"step": 1, "tokens": 5, "loss": 1.0, "lr": 1e-4})

    assert shown(show).startswith("step 1  loss 1.0000  lr 1.00e-04")

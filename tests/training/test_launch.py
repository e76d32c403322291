"""Launching a recipe on several processes: what is refused, what is started, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub import errors
from chatdoctor_hub.errors import ConfigError, DataError, DataNotFoundError, MissingExtraError, TrainingError
from chatdoctor_hub.folders import held_folder
from chatdoctor_hub.training import RecipeConfig, launched
from chatdoctor_hub.training.launch import accelerate_config, launch

launching = sys.modules[launch.__module__]
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., RecipeConfig]:
    """A recipe whose base and data need not be there."""

    def make(**changes: Any) -> RecipeConfig:
        return RecipeConfig(**{"base": "b", "data": "d.jsonl", "output": tmp_path / "run", **changes})

    return make


# ---------------------------------------------------------------------------------------------------------
# Refused before anything is started


@pytest.mark.parametrize(
    ("strategy", "meant"),
    [("fsdp", "did you mean 'fsdp2'"), ("DPP", "did you mean 'ddp'"), (None, "use one of")],
)
def test_another_strategy(strategy: Any, meant: str, config: Any) -> None:
    with pytest.raises(ConfigError, match=rf"\(ddp, fsdp2, deepspeed\), found {strategy!r}; {meant}"):
        launch(config(), strategy, 2)


@pytest.mark.parametrize("processes", [1, 0, -2, True, 2.0, "2"])
def test_fewer_than_two_processes(processes: Any, config: Any) -> None:
    with pytest.raises(ConfigError, match=r"at least 2 processes to launch, found .*; one process needs no"):
        launch(config(), "ddp", processes)


def test_more_processes_than_gpus(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="at most 2 processes, one for each GPU of this machine, found 3"):
        launch(config(), "ddp", 3)


def test_deepspeed(config: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"found deepspeed, whose engine .*; launch with fsdp2, which shards"
    ):
        launch(config(), "deepspeed", 2)


def test_quantized_weights_in_shards(config: Any) -> None:
    with pytest.raises(ConfigError, match=r"training\.quantization: input should be 'none'.*found '4bit'"):
        launch(config(training={"quantization": "4bit"}), "fsdp2", 2)


@linux
def test_a_launch_that_is_under_way(config: Any, tmp_path: Path) -> None:
    with (
        held_folder(tmp_path / ".run.launch", "a test"),
        pytest.raises(DataError, match="alone in the launch of run"),
    ):
        launch(config(), "ddp", 2)


# ---------------------------------------------------------------------------------------------------------
# What is handed to accelerate


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_accelerate_reads_the_configuration(strategy: Any, tmp_path: Path) -> None:
    import yaml

    pytest.importorskip("accelerate")
    from accelerate.commands.config.config_args import load_config_from_file

    file = tmp_path / "accelerate.yaml"
    file.write_text(yaml.safe_dump(accelerate_config(strategy, 3)), encoding="utf-8")
    read = load_config_from_file(str(file))
    assert read.num_processes == 3
    assert read.main_process_ip == "127.0.0.1"
    assert (read.fsdp_config.get("fsdp_version") == 2) == (strategy == "fsdp2")


def test_processes_share_the_cores_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert launching._environment(3)["OMP_NUM_THREADS"] == "2"
    assert launching._environment(20)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert launching._environment(3)["OMP_NUM_THREADS"] == "5"


def test_the_recipe_survives_its_file(config: Any, tmp_path: Path) -> None:
    recipe = config(probes={"times": 2}, data=[{"path": "a.jsonl", "weight": 2.0}, "b.csv"])
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert RecipeConfig.load(tmp_path / "recipe.yaml") == recipe


# ---------------------------------------------------------------------------------------------------------
# What is told of the processes


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DataNotFoundError("d.jsonl: expected data, found nothing; check the path."), DataNotFoundError),
        (MissingExtraError("peft", "train"), MissingExtraError),
        (RuntimeError("CUDA out of memory"), TrainingError),
    ],
)
def test_the_error_of_a_process_becomes_ours(error: Exception, kind: type, tmp_path: Path) -> None:
    launched._tell(error, tmp_path)
    launched._tell(ConnectionError("the first one is gone"), tmp_path)  # too late
    told = launching._error(tmp_path, "ddp", 2, 1)
    assert type(told) is kind
    assert str(error) in str(told)
    assert isinstance(told, errors.ChatDoctorError)


def test_an_error_of_a_kind_that_only_we_know_keeps_its_base(tmp_path: Path) -> None:
    class OwnError(ConfigError):
        pass

    launched._tell(OwnError("Expected a valid recipe, found 2 fault(s).", ["a", "b"]), tmp_path)
    told = launching._error(tmp_path, "ddp", 2, 1)
    assert type(told) is ConfigError
    assert str(told) == "Expected a valid recipe, found 2 fault(s)."


def test_a_process_that_could_not_say_what_is_wrong(tmp_path: Path) -> None:
    log = (
        "first\n\nsecond\nthird\nfourth\nfifth\nFatal: no such instruction\n"
        "E1121 07:36:07.1 99 torch/distributed/elastic/api.py:1] failed (exitcode: -4)\n"
        "Traceback (most recent call last):\n  File accelerate/commands/launch.py\nChildFailedError: x\n"
    )
    (tmp_path / "log.txt").write_text(log, encoding="utf-8")
    (tmp_path / "fault.json").write_text('{"kind": "Run', encoding="utf-8")  # torn
    told = launching._error(tmp_path, "fsdp2", 4, 1)
    assert type(told) is TrainingError
    assert "4 processes (fsdp2)" in str(told)
    assert "exit status 1: second | third | fourth | fifth | Fatal: no such instruction);" in str(told)


def test_steps_are_told_once_each_and_only_when_they_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "steps.jsonl"
    code = (
        "import sys, time; f = open(sys.argv[1], 'w', buffering=1)\n"
        "for n in range(5):\n"
        "    f.write('{\"step\": '); f.flush(); time.sleep(.15); f.write(f'{n}}}\\n')\n"
        "f.write('{\"step\": 99'); f.flush(); sys.exit(7)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(file)])
    told: list[dict[str, float]] = []
    assert launching._follow(process, file, told.append) == 7
    assert told == [{"step": number} for number in range(5)]


@linux
def test_a_process_that_does_not_want_to_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(99)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    monkeypatch.setattr(launching, "_PATIENCE", 0.5)
    launching._end(process)
    assert process.returncode == -signal.SIGKILL
    process.stdout.close()


def test_a_launched_process_ends_when_its_input_does() -> None:
    code = "from chatdoctor_hub.training import launched; launched._end_with_input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    time.sleep(0.5)
    assert process.poll() is None
    process.communicate(timeout=30)
    assert process.returncode == 1


# ---------------------------------------------------------------------------------------------------------
# Real processes


def running(mark: str) -> list[int]:
    """Processes, other than this one, with `mark` in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if mark in words and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def workers(mark: str) -> list[int]:
    """Those that do the work, by the argument that only they and their launcher have."""
    return [
        number
        for number in running(mark)
        if b"--config_file" not in Path(f"/proc/{number}/cmdline").read_bytes()
        and b"--report" in Path(f"/proc/{number}/cmdline").read_bytes()
    ]


def wait_for(found: Callable[[], Any], seconds: float = 90.0) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@linux
def test_what_a_process_raises_is_raised_here(recipe: Any, tmp_path: Path) -> None:
    missing = tmp_path / "none.jsonl"
    with pytest.raises(DataNotFoundError, match=r"none\.jsonl"):
        launch(recipe(data=missing), "ddp", 2)
    assert not (tmp_path / ".run.launch").exists()
    assert running(str(tmp_path)) == []


@pytest.fixture
def endless(recipe: Any, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start another process that launches a run which takes for ever."""
    file = tmp_path / "endless.yaml"
    file.write_text(recipe(training={"epochs": 1000.0}).to_yaml(), encoding="utf-8")
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from chatdoctor_hub.training import RecipeConfig\n"
        "from chatdoctor_hub.training.launch import launch\n"
        "launch(RecipeConfig.load(sys.argv[1]), 'ddp', 2, on_step=lambda record: print(record, flush=True))"
    )
    started = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        assert b"'step': 1" in process.stdout.readline()
        threading.Thread(target=process.stdout.read, daemon=True).start()  # so that it is never full
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


@linux
@pytest.mark.slow
def test_ctrl_c_ends_all_of_them(endless: Any, tmp_path: Path) -> None:
    process = endless()
    assert len(workers(str(tmp_path))) == 2
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.stderr.read()
    process.wait()
    assert running(str(tmp_path)) == []
    assert not (tmp_path / ".run.launch").exists()
    assert not (tmp_path / "run").exists()


@linux
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_none_outlives_the_process_that_launched(how: signal.Signals, endless: Any, tmp_path: Path) -> None:
    process = endless()
    process.send_signal(how)
    process.wait()
    wait_for(lambda: not running(str(tmp_path)), 45)


@linux
@pytest.mark.slow
def test_one_that_is_killed_ends_the_others(recipe: Any, tmp_path: Path) -> None:
    def kill_one(record: dict[str, float]) -> None:
        if record["step"] == 3:
            os.kill(workers(str(tmp_path))[-1], signal.SIGKILL)

    with pytest.raises(
        TrainingError, match=r"Expected 2 processes \(ddp\) to finish the run, found that one failed"
    ):
        launch(recipe(training={"epochs": 1000.0}), "ddp", 2, on_step=kill_one)
    assert running(str(tmp_path)) == []
    assert not (tmp_path / "run").exists()


@linux
@pytest.mark.slow
def test_what_is_raised_while_steps_are_told_ends_them(recipe: Any, tmp_path: Path) -> None:
    def fail(_: dict[str, float]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        launch(recipe(training={"epochs": 1000.0}), "ddp", 2, on_step=fail)
    assert running(str(tmp_path)) == []


@linux
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_the_curve_is_that_of_one_process(strategy: Any, recipe: Any, tmp_path: Path) -> None:
    from chatdoctor_hub.training import fine_tune

    alone: list[dict[str, float]] = []
    fine_tune(recipe(output=tmp_path / "alone"), on_step=alone.append)
    together: list[dict[str, float]] = []
    run = launch(recipe(), strategy, 2, on_step=together.append)
    assert [record["step"] for record in together] == [record["step"] for record in alone]
    for name in ("loss", "tokens", "lr"):
        expected = [record[name] for record in alone]
        assert [record[name] for record in together] == pytest.approx(expected, abs=1e-4)
    assert [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()] == together
    assert run.manifest.speed.processes == 2


FIT = """
import json, sys
import torch
from peft import LoraConfig, get_peft_model
from chatdoctor_hub.models import load_model, load_tokenizer
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training import RecipeConfig, encode, fit
from chatdoctor_hub.corpus import read_dialogues
from chatdoctor_hub.training.launched import join

torch.set_num_threads(1)
is_first = join()
recipe = RecipeConfig.load(sys.argv[1])
tokenizer = load_tokenizer(recipe.base)
dialogues = read_dialogues(recipe.data[0].path)
samples = encode(dialogues, PromptPair.load(recipe.prompt), tokenizer, 256).samples
torch.manual_seed(recipe.seed)
model = get_peft_model(load_model(recipe.base, torch.float32), LoraConfig(r=4, target_modules="all-linear"))
result = fit(model, samples[8:], recipe.training, seed=recipe.seed, validation=samples[:8])
if is_first:
    print("RESULT" + json.dumps(result.records))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


def fitted(processes: int, strategy: Any, recipe: Path, folder: Path) -> list[dict[str, float]]:
    import yaml

    (folder / "fit.py").write_text(FIT, encoding="utf-8")
    (folder / "accelerate.yaml").write_text(yaml.safe_dump(accelerate_config(strategy, processes)))
    start = ["-m", "accelerate.commands.launch", "--config_file", str(folder / "accelerate.yaml")]
    ended = subprocess.run(
        [sys.executable, *(start if processes > 1 else []), str(folder / "fit.py"), str(recipe)],
        env=launching._environment(processes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    [line] = [line for line in ended.stdout.splitlines() if line.startswith("RESULT")]
    records: list[dict[str, float]] = json.loads(line.removeprefix("RESULT"))
    return records


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["auto", "portable"])
def test_fit_takes_the_same_steps_on_one_process_and_on_two(
    adapter: str, recipe: Any, tmp_path: Path
) -> None:
    """The same global batch, by DDP and by FSDP2 over gloo: losses, validation losses and rates, in float32."""
    file = tmp_path / "recipe.yaml"
    settings = {"epochs": 2.0, "speed": adapter, "validations": 3}
    file.write_text(recipe(training=settings).to_yaml(), encoding="utf-8")
    alone = fitted(1, "ddp", file, tmp_path)
    assert len(alone) == 10
    for strategy in ("ddp", "fsdp2"):
        together = fitted(2, strategy, file, tmp_path)
        assert [record.keys() for record in together] == [record.keys() for record in alone]
        for one, other in zip(together, alone, strict=True):
            assert one == pytest.approx(other, abs=1e-4), strategy

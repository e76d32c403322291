"""`launch`: a recipe on several processes, by accelerate.

Each of them runs `python -m chatdoctor_hub.training.launch RECIPE.yaml`. For several machines start that with
`accelerate launch` and a configuration of your own on each of them; `accelerate_config` shows what one machine
is given.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from chatdoctor_hub import errors
from chatdoctor_hub.errors import ChatDoctorError, ConfigError, TrainingError
from chatdoctor_hub.folders import held_folder
from chatdoctor_hub.models import require_extra
from chatdoctor_hub.training.launched import FAULT, STEPS
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.run_folder import RunFolder

__all__ = ["Strategy", "accelerate_config", "launch"]

Strategy = Literal["ddp", "fsdp2", "deepspeed"]
"""ddp: every process has the whole model; fsdp2: weights, gradients and optimizer in shards.

deepspeed is known, and refused: its engine runs the backward pass itself, where a step here has passes of its own
over dialogues laid end to end. fsdp2 shards what ZeRO-3 shards.
"""

_RECIPE, _CONFIG, _STEPS, _FAULT, _LOG = (
    "recipe.yaml",
    "accelerate.yaml",
    "steps.jsonl",
    "fault.json",
    "log.txt",
)
_LAST_LINES = 5
_PATIENCE = 15.0  # seconds that processes get to end by themselves
_POLL = 0.1
# What torch's and accelerate's launchers say about a process that failed; the process itself said why before.
_OF_LAUNCHERS = re.compile(r"[A-Z]\d{4} \d\d:\d\d:\d\d|Traceback .*\n.*(?:accelerate|runpy)", re.MULTILINE)


def launch(
    config: RecipeConfig,
    strategy: Strategy = "ddp",
    processes: int | None = None,
    *,
    fresh: bool = False,
    on_step: Callable[[dict[str, float]], None] | None = None,
) -> RunFolder:
    """Run a recipe on several processes of this machine: one a GPU, or, without GPUs, some that share the CPU.

    The steps of the run are those of one process: `training.batch_size` counts the dialogues of a step over
    all of them. On a CPU this proves a set-up; one process with several workers is faster there. While it
    runs, recipe, configuration and log are in `.NAME.launch` beside the output. When this process ends,
    however it ends, the others do.

    Args:
        config: the recipe.
        strategy: "ddp" or "fsdp2".
        processes: how many; at least 2. None: one a GPU, or 2 without GPUs.
        fresh: begin anew where an interrupted run of the recipe could be continued.
        on_step: called with the records of the first process, as by `fine_tune`.

    Raises:
        ConfigError: for another strategy, or processes that this machine cannot run.
        MissingExtraError: without the packages of the extra "train".
        DataError: when another launch of the same output is under way.
        TrainingError: when a process fails, with what it said last.
        ChatDoctorError: whatever `fine_tune` raises, as in one process.
    """
    processes = _check(config, strategy, processes)
    out = Path(os.path.realpath(config.output))
    with _work_folder(out) as folder:
        (folder / _RECIPE).write_text(config.to_yaml(), encoding="utf-8")
        settings = yaml.safe_dump(accelerate_config(strategy, processes), sort_keys=False)
        (folder / _CONFIG).write_text(settings, encoding="utf-8")
        with (folder / _LOG).open("wb") as log, _processes(folder, processes, log, fresh) as process:
            code = _follow(process, folder / STEPS, on_step)
        if code:
            raise _error(folder, strategy, processes, code)
    return RunFolder.open(out)


def accelerate_config(strategy: Strategy, processes: int) -> dict[str, Any]:
    """The configuration that `accelerate launch --config_file` is given, as its YAML holds it."""
    import torch

    on_gpus = torch.cuda.is_available()
    # accelerate starts one process only for "MULTI_CPU"; the processes see for themselves that there is no GPU.
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if strategy == "fsdp2" else "MULTI_GPU",
        "num_machines": 1,
        "machine_rank": 0,
        "num_processes": processes,
        "main_process_ip": "127.0.0.1",
        "main_process_port": 0,  # a free one
        "use_cpu": not on_gpus,
        "mixed_precision": "no",  # the passes choose their precision themselves
    }
    if strategy == "fsdp2":
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
            "fsdp_cpu_ram_efficient_loading": False,
        }
    return config


def _check(config: RecipeConfig, strategy: Any, processes: Any) -> int:
    known = get_args(Strategy)
    if strategy not in known:
        near = difflib.get_close_matches(str(strategy).lower(), known, n=1)
        meant = f"did you mean {near[0]!r}?" if near else "use one of these."
        raise ConfigError(f"Expected a strategy ({', '.join(known)}), found {strategy!r}; {meant}")
    if strategy == "deepspeed":
        raise ConfigError(
            "Expected processes of ddp or fsdp2, found deepspeed, whose engine runs backward passes of its own; "
            "launch with fsdp2, which shards as well."
        )
    require_extra("torch", "transformers", "peft", "accelerate", extra="train")
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if processes is None:
        processes = gpus or 2
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 2:
        raise ConfigError(
            f"Expected at least 2 processes to launch, found {processes!r}; one process needs no launch: call "
            "fine_tune."
        )
    if gpus and processes > gpus:
        raise ConfigError(
            f"Expected at most {gpus} processes, one for each GPU of this machine, found {processes}; lower it."
        )
    if strategy == "fsdp2" and config.training.quantization != "none":
        raise ConfigError(
            "training.quantization: input should be 'none' where weights are in shards (fsdp2), found "
            f"{config.training.quantization!r}; launch with ddp."
        )
    return processes


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    with held_folder(out.with_name(f".{out.name}.launch"), f"the launch of {out.name}") as folder:
        for left in folder.iterdir():
            left.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _processes(folder: Path, processes: int, log: Any, fresh: bool) -> Iterator[subprocess.Popen[bytes]]:
    """The launcher of accelerate and the processes under it; none of them is left when the block ends."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(folder / _CONFIG)]
    command += ["-m", "chatdoctor_hub.training.launch", str(folder / _RECIPE)]
    command += ["--report", str(folder), *(["--fresh"] if fresh else [])]
    process = subprocess.Popen(
        command,
        env=_environment(processes),
        stdin=subprocess.PIPE,  # ends when we do, which the processes notice
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is passed on by us, once
    )
    try:
        yield process
    finally:
        _end(process)


def _environment(processes: int) -> dict[str, str]:
    import torch

    env = dict(os.environ)
    if not torch.cuda.is_available():
        env["ACCELERATE_USE_CPU"] = "true"
        if sys.platform == "linux":
            env.setdefault("GLOO_SOCKET_IFNAME", "lo")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    env.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    return env


def _end(process: subprocess.Popen[bytes]) -> None:
    """The launcher ends its processes when it is asked to; if it does not, they notice that it is gone."""
    try:
        if process.poll() is None:
            process.terminate()
            process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.stdin:
            process.stdin.close()
        with suppress(OSError):
            os.killpg(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()


def _follow(
    process: subprocess.Popen[bytes], file: Path, on_step: Callable[[dict[str, float]], None] | None
) -> int:
    """Tell of each step as soon as it is in the file; returns how the launcher ended."""
    read = 0
    while True:
        code = process.poll()
        if file.exists():
            with file.open("rb") as lines:
                lines.seek(read)
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    read += len(line)
                    if on_step:
                        on_step(json.loads(line))
        if code is not None:
            return code
        time.sleep(_POLL)


def _error(folder: Path, strategy: str, processes: int, code: int) -> ChatDoctorError:
    """What a process raised, or else what was said last."""
    with suppress(OSError, ValueError, KeyError):
        fault = json.loads((folder / FAULT).read_text(encoding="utf-8"))
        kind = getattr(errors, str(fault["kind"]), None)
        if isinstance(kind, type) and issubclass(kind, ChatDoctorError):
            error = kind.__new__(kind)
            error.args = (str(fault["said"]),)
            return error
        return _failed(strategy, processes, f"{fault['kind']}: {fault['said']}")
    said = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
    first = _OF_LAUNCHERS.search(said)
    lines = [
        line.strip() for line in (said[: first.start()] if first and first.start() else said).splitlines()
    ]
    last = " | ".join([line for line in lines if line][-_LAST_LINES:])
    return _failed(strategy, processes, f"exit status {code}" + (f": {last}" if last else ""))


def _failed(strategy: str, processes: int, what: str) -> TrainingError:
    return TrainingError(
        f"Expected {processes} processes ({strategy}) to finish the run, found that one failed "
        f"({what[:2000].rstrip('.')}); mend that and launch again, which goes on from the last checkpoint."
    )


if __name__ == "__main__":
    from chatdoctor_hub.training.launched import main

    sys.exit(main())

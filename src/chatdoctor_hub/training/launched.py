"""What each process of a launch runs: join the others, then `fine_tune`; the first one reports its steps."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from chatdoctor_hub import errors
from chatdoctor_hub.training.recipe import RecipeConfig

__all__ = ["FAULT", "STEPS", "join", "main"]

STEPS = "steps.jsonl"
"""The records of the steps, one a line."""

FAULT = "fault.json"
"""What went wrong first: `kind`, the name of the error, and what it `said`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m chatdoctor_hub.training.launch RECIPE.yaml`, under `accelerate launch` or `torchrun`."""
    parser = argparse.ArgumentParser(prog="python -m chatdoctor_hub.training.launch")
    parser.add_argument("recipe", type=Path, help="a recipe in YAML")
    parser.add_argument("--fresh", action="store_true", help="do not continue an interrupted run")
    parser.add_argument(
        "--report", type=Path, help="folder for steps and faults; the process ends when its input does"
    )
    given = parser.parse_args(arguments)
    if given.report:
        threading.Thread(target=_end_with_input, name="chatdoctor-watch", daemon=True).start()
    try:
        is_first = join()
        from chatdoctor_hub.training.tuning import fine_tune

        with _steps(given.report if is_first else None) as on_step:
            fine_tune(RecipeConfig.load(given.recipe), on_step=on_step, fresh=given.fresh)
        _leave()
    except Exception as error:
        if given.report:
            _tell(error, given.report)
        raise
    return 0


def join() -> bool:
    """Meet the other processes by accelerate's `PartialState`; whether this is the first of them.

    On CPUs they meet by gloo. accelerate knows no FSDP there and would quietly make DDP of it; it is told
    otherwise.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    on_cpu = not torch.cuda.is_available() or _says("ACCELERATE_USE_CPU")
    state = PartialState(cpu=on_cpu)
    if on_cpu and _says("ACCELERATE_USE_FSDP") and state.num_processes > 1:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU  # any that may be sharded
    return bool(state.is_main_process)


def _says(variable: str) -> bool:
    return os.environ.get(variable, "").lower() == "true"


def _leave() -> None:
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def _steps(folder: Path | None) -> Iterator[Callable[[dict[str, float]], None] | None]:
    """What writes the record of each step into a folder; None writes nothing."""
    if folder is None:
        yield None
        return
    with (folder / STEPS).open("a", encoding="utf-8", buffering=1) as file:
        yield lambda record: print(json.dumps(record, default=float), file=file)


def _tell(error: Exception, folder: Path) -> None:
    """Write down what went wrong, unless another process was first."""
    names = [kind.__name__ for kind in type(error).__mro__]
    kind = next((name for name in names if name in errors.__all__), names[0])
    fault = json.dumps({"kind": kind, "said": str(error)})
    with suppress(OSError), (folder / FAULT).open("x", encoding="utf-8") as file:
        file.write(fault)


def _end_with_input() -> None:
    """The input is a pipe from the process that called `launch`: it ends when that one is gone."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):
            pass
    os._exit(1)

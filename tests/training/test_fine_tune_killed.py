"""`fine_tune` killed at any moment, from reading the data to writing the run, ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.training import RecipeConfig

pytest.importorskip("torch")

# One process imports everything and forks a child a run; it kills children at random moments.
NURSERY = """
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
import torch
from chatdoctor_hub.training import RecipeConfig, fine_tune
import accelerate, matplotlib.pyplot, peft, safetensors.torch, transformers.trainer

torch.set_num_threads(1)
given = json.loads(sys.argv[1])
place, chance = Path(given["place"]), random.Random(given["seed"])

def fork(name):
    child = os.fork()
    if child:
        return child
    try:
        fine_tune(RecipeConfig.load(given["recipe"], output=str(place / name)))
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)

def finish(name):
    since = time.monotonic()
    assert os.waitpid(fork(name), 0)[1] == 0
    return time.monotonic() - since

def kill(name, after):
    # Whether it was still alive then.
    child, until = fork(name), time.monotonic() + after
    while time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

def digests(name):
    files = [place / name / "adapter" / "adapter_model.safetensors", place / name / "metrics.jsonl"]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

seconds = finish("whole")
killed = 0
while killed < given["kills"]:  # one that was over before it begins again
    killed += kill("killed", chance.uniform(0.05, 0.7) * seconds)
finish("killed")
print(json.dumps({"killed": killed, "whole": digests("whole"), "continued": digests("killed")}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "adapter",
    [{"r": 4, "dropout": 0.2}, {"kind": "parallel", "bottleneck_size": 8}],
    ids=["lora-with-dropout", "parallel"],
)
def test_a_run_that_is_killed_five_times_gives_the_same_adapter(
    adapter: dict[str, Any], seed: int, recipe: Callable[..., RecipeConfig], tmp_path: Path
) -> None:
    file, place = tmp_path / "recipe.yaml", tmp_path / "place"
    place.mkdir()
    file.write_text(
        recipe(adapter=adapter, training={"epochs": 8.0, "checkpoints": 8}).to_yaml(), encoding="utf-8"
    )
    given = {"recipe": str(file), "place": str(place), "seed": seed, "kills": 5}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NURSERY, json.dumps(given)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert found["killed"] == 5
    assert found["continued"] == found["whole"]
    assert sorted(path.name for path in place.iterdir()) == ["killed", "whole"]

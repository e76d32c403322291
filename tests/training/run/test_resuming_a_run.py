"""A run that is killed at any point and continued ends as if nothing had happened, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

# One process imports everything and forks a child a run; it kills children at random points.
NURSERY = """
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from chatdoctor_hub.training.data import Encoded
from chatdoctor_hub.training.recipe import TrainingConfig
from chatdoctor_hub.training.run import fit
import accelerate, safetensors.torch, transformers.trainer

torch.set_num_threads(1)
given = json.loads(sys.argv[1])
place, chance = Path(given["place"]), random.Random(given["seed"])
numbers = random.Random(0)
samples = [
    Encoded(tuple(numbers.randrange(1, 64) for _ in range(size)), tuple(at > size // 3 for at in range(size)))
    for size in (numbers.randrange(6, 30) for _ in range(40))
]
settings = TrainingConfig(
    batch_size=4, epochs=2.4, precision="float32", lr=1e-2, checkpoints=8, validations=6, keep_best=True,
    **given["settings"],
)

def run(work, tell):
    torch.manual_seed(0)
    shape = AutoConfig.for_model(
        "llama", vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    adapter = LoraConfig(
        r=4, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=given["dropout"], init_lora_weights=False
    )
    model = get_peft_model(AutoModelForCausalLM.from_config(shape), adapter)
    drawn = []
    result = fit(
        model, samples[:32], settings, seed=3, validation=samples[32:], work=work, key="this", on_step=tell,
        probe=lambda: {"drawn": [random.random(), float(torch.rand(()))][1]}, probe_times=12,
    )
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    digest = hashlib.sha256(safetensors.torch.save(weights)).hexdigest()
    found = {"digest": digest, "records": result.records, "resumed_at": result.resumed_at, "best": result.best_step}
    (place / "found.json").write_text(json.dumps(found))

def fork(work):
    hear, say = os.pipe()
    child = os.fork()
    if child:
        os.close(say)
        return child, os.fdopen(hear, "rb", buffering=0)
    try:
        run(work, lambda record: os.write(say, b"."))
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)

def finish(work):
    child, _ = fork(work)
    assert os.waitpid(child, 0)[1] == 0
    return json.loads((place / "found.json").read_text())

def kill(work, saving):
    child, steps = fork(work)
    if saving:
        steps.read(1)
        end = time.monotonic() + 60
        while not any(path.name.endswith(".new") for path in work.iterdir()) if work.exists() else True:
            if time.monotonic() > end or os.waitpid(child, os.WNOHANG)[0]:
                return False
    else:
        for _ in range(chance.randrange(1, 5)):
            steps.read(1)
        time.sleep(chance.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

whole = finish(place / "whole")
killed = sum(kill(place / "killed", saving=number % 2 == 1) for number in range(given["kills"]))
continued = finish(place / "killed")
print(json.dumps({"whole": whole, "continued": continued, "killed": killed}))
"""


def killed_and_not(place: Path, **given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run found that nobody killed, and what one found that was killed `kills` times."""
    given = {"place": str(place), "seed": 0, "dropout": 0.0, "settings": {}, **given}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NURSERY, json.dumps(given)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    found = json.loads(process.stdout)
    assert found["killed"] > given["kills"] // 2  # the others were over before
    return found["whole"], found["continued"]


def check(whole: dict[str, Any], continued: dict[str, Any]) -> None:
    assert whole["resumed_at"] is None
    assert continued["resumed_at"] is not None
    assert continued["digest"] == whole["digest"]
    assert continued["records"] == whole["records"]
    assert [record["step"] for record in whole["records"]] == list(range(1, 20))
    assert continued["best"] == whole["best"]


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """With dropout, whose random numbers must go on too."""
    check(*killed_and_not(tmp_path, kills=2, dropout=0.3, settings={"workers": 1}))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "given",
    [
        {"dropout": 0.3, "settings": {"workers": 1}},
        {"settings": {"workers": 2, "optimizer": "muon"}},
        {"settings": {"workers": 2, "schedule": "cosine", "speed": "portable"}},
    ],
    ids=["dropout", "muon", "threads"],
)
def test_a_run_that_is_killed_five_times_goes_on_bit_for_bit(
    seed: int, given: dict[str, Any], tmp_path: Path
) -> None:
    check(*killed_and_not(tmp_path, kills=5, seed=seed, **given))

"""Encoding and steps at 1,000, 10,000 and 100,000 dialogues, streamed: pace and memory, each in a new process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from train_loops.ours import fitted, precision, settings
from train_loops.task import Task, prepare, real_dialogues

STEPS = 40


def measured(sizes: list[int], published: Path) -> list[dict[str, Any]]:
    """`ratios` are those to the smallest size."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, published, 600)
        found = []
        for size in sorted(sizes):
            file = folder / f"{size}.jsonl"
            write(file, published, size)
            found.append(_apart(folder, file))
            file.unlink()
    rows = []
    units = {
        "encoding": "dialogues/s",
        "steps": "real tokens/s",
        "steps, of one core": "real tokens/s",
        "memory at most": "MiB",
    }
    for name, unit in units.items():
        for size, figures in zip(sorted(sizes), found, strict=True):
            ratio = round(figures[name] / found[0][name], 2)
            row = {"name": f"{name}, {size:,} dialogues", "value": round(figures[name], 1), "unit": unit}
            rows.append({**row, "ratios": [ratio]})
    return rows


def write(file: Path, published: Path, size: int) -> None:
    """Dialogues over and over, each time with another day in them."""
    dialogues, _ = real_dialogues(published, min(size, 4000))
    with file.open("w", encoding="utf-8") as out:
        for number in range(size):
            messages = dialogues[number % len(dialogues)].to_messages()
            opening = dict(messages[0], content=f"On day {number}: {messages[0]['content']}")
            out.write(json.dumps({"messages": [opening, *messages[1:]]}) + "\n")


def run_one(folder: Path, file: Path) -> None:
    """In a process of its own: encode the file, make some steps, print the figures."""
    from chatdoctor_hub.prompts import PromptPair
    from chatdoctor_hub.training import RecipeConfig
    from chatdoctor_hub.training.data import encode_data

    task = Task.load(folder)
    config = settings(max_steps=STEPS, validation_share=0.0)
    recipe = RecipeConfig(base=folder / "base", data=file, output=folder / "run", training=config)
    pair, tokenizer = PromptPair.load(recipe.prompt), task.tokenizer()
    started = time.perf_counter()
    data = encode_data(recipe, pair, tokenizer, cache=folder / f"cache-{file.stem}")
    took = time.perf_counter() - started
    model = task.lora(precision(config))
    _, figures = fitted(Task(folder, data.training, []), model, config)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    pace = {"steps": figures["value"], "steps, of one core": figures["per_core"]}
    print(json.dumps({"encoding": data.report.read / took, **pace, "memory at most": peak}))


def _apart(folder: Path, file: Path) -> dict[str, float]:
    code = "import sys; from pathlib import Path; from train_loops.scale import run_one; run_one(*map(Path, sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{file.name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found

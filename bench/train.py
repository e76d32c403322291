"""Tuning loops beside each other on the same tokens, base and adapter: real tokens a second, and the loss reached.

python bench/train.py [--rounds 3] [--dialogues 600] [--only ours trl] [--json]
python bench/train.py --scale [1000 10000 100000]
python bench/train.py --gpu

The base is a Llama of hidden size 256 and 4 layers with random weights and a vocabulary of 8,192 made here; LoRA of
rank 8 on every linear layer; steps of 32 dialogues, one epoch, the first two steps not measured. Each loop runs in a
process of its own with its own threads, round by round in turn; TRL where it is installed (`pip install
'chatdoctor-hub[bench]'`). The dialogues are the published ones where they lie beside the repository, else they are
written from the starter table. Losses are nats a learned token over 100 held-out dialogues, in float32.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from train_loops import ours, trainers
from train_loops.task import Task, held_out_loss, prepare

PUBLISHED = Path(__file__).resolve().parents[2] / "shared/data/chatdoctor/genmedgpt_4000.json"
LORA, PARALLEL = "LoRA", "parallel"

LOOPS = {
    "ours": ("ours", LORA, ours.lora),
    "ours-passes": ("ours, the passes alone", LORA, ours.passes_alone),
    "ours-portable": ("ours, portable", LORA, lambda task: ours.lora(task, speed="portable")),
    "ours-float32": ("ours, float32", LORA, lambda task: ours.lora(task, precision="float32")),
    "trl": ("TRL, default", LORA, trainers.trl_default),
    "trl-best": ("TRL, packed, bf16, no checkpointing", LORA, trainers.trl_best),
    "grouped": ("Trainer, grouped by length, bf16", LORA, lambda task: trainers.grouped(task, bf16=True)),
    "grouped-float32": (
        "Trainer, grouped by length, float32",
        LORA,
        lambda task: trainers.grouped(task, bf16=False),
    ),
    "script": ("as LLM-Adapters' script, float32", LORA, trainers.script),
    "ours-parallel": ("ours, parallel adapter", PARALLEL, ours.parallel),
    "script-parallel": ("LLM-Adapters' formula, parallel", PARALLEL, trainers.script_parallel),
}
OURS = {LORA: "ours", PARALLEL: "ours-parallel"}


def run_one(name: str, folder: Path) -> None:
    """In a process of its own: one loop, its figures as the last line."""
    task = Task.load(folder)
    model, found = LOOPS[name][2](task)
    found["loss"] = held_out_loss(model, task.held_out)
    print(json.dumps(found))


def run_apart(name: str, folder: Path) -> dict[str, Any]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, __file__, "--loop", name, "--task", str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(names: list[str], folder: Path, rounds: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            found[name].append(run_apart(name, folder))
            value = found[name][-1]["value"]
            print(f"round {number + 1}: {LOOPS[name][0]}: {value:,.0f} tokens/s", file=sys.stderr, flush=True)
    return found


def rows_of(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Medians; `ratios` are those of ours to this loop, round by round; `per_core` is a second of one core."""
    rows = []
    for name, runs in found.items():
        title, adapter, _ = LOOPS[name]
        mine = found.get(OURS[adapter], [])
        rows.append(
            {
                "name": title,
                "value": round(statistics.median(run["value"] for run in runs), 1),
                "unit": "real tokens/s",
                "ratios": [round(a["value"] / b["value"], 2) for a, b in zip(mine, runs, strict=False)],
                "per_core": round(statistics.median(run["per_core"] for run in runs), 1),
                "loss": round(statistics.median(run["loss"] for run in runs), 4),
                "steps": runs[0]["steps"],
                "tokens": runs[0]["tokens"],
                "note": runs[0].get("note", ""),
            }
        )
    return rows


def asked_for() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dialogues", type=int, default=600)
    parser.add_argument("--only", nargs="+", choices=list(LOOPS), default=list(LOOPS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--scale", nargs="*", type=int, metavar="DIALOGUES")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--loop", choices=list(LOOPS), help=argparse.SUPPRESS)
    parser.add_argument("--task", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    asked = asked_for()
    if asked.loop:
        run_one(asked.loop, asked.task)
        return
    if asked.gpu:
        from train_loops.gpu import measured

        show(measured(), asked.json)
        return
    if asked.scale is not None:
        from train_loops.scale import measured as scaled

        show(scaled(asked.scale or [1000, 10_000, 100_000], PUBLISHED), asked.json)
        return
    names = list(asked.only)
    if not all(map(importlib.util.find_spec, ("trl", "datasets"))):
        names = [name for name in names if not name.startswith("trl")]
        print("TRL is not installed (chatdoctor-hub[bench]): left out", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        print(prepare(Path(folder), PUBLISHED, asked.dialogues), file=sys.stderr)
        show(rows_of(compare(names, Path(folder), asked.rounds)), asked.json)


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        ratios = row["ratios"]
        spread = f"{statistics.median(ratios):5.2f} [{min(ratios):.2f}, {max(ratios):.2f}]" if ratios else ""
        loss = f"{row['per_core']:9,.1f} a core   loss {row['loss']:.4f}" if "loss" in row else ""
        line = f"{row['name']:38} {row['value']:12,.1f} {row['unit']:14} {spread:22} {loss}  {row.get('note', '')}"
        print(line.rstrip())


if __name__ == "__main__":
    main()

"""Tuning loops beside each other on the same tokens, base and adapter: real tokens a second, and the loss reached.

python bench/train.py [--rounds 3] [--dialogues 600] [--only ours trl] [--json]
python bench/train.py --scale [1000 10000 100000]
python bench/train.py --gpu

The base is a Llama of hidden size 256 and 4 layers with random weights and a vocabulary of 8,192 made here; LoRA of
rank 8 on every linear layer; steps of 32 dialogues, one epoch a round, the first two steps not measured. Each loop
runs in a process of its own with its own threads; they take their steps in turn, so that other work on the machine
slows all alike. TRL where it is installed (`pip install 'chatdoctor-hub[bench]'`). The dialogues are the published
ones where they lie beside the repository, else they are written from the starter table. Losses are nats a learned
token over 100 held-out dialogues, in float32. Ratios are those of ours to the loop of the line, median and range over
the rounds, by the wall and by the seconds of one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from train_loops import ours, trainers
from train_loops.clock import take_turns
from train_loops.task import Task, held_out_loss, prepare
from train_loops.turns import OtherWork, one_round

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
# What ours is to be times as fast as, on two cores that nobody else uses.
BARS = {"trl": 6.4, "trl-best": 4.4, "script": 3.4, "grouped": 1.7}


def run_one(name: str, folder: Path) -> None:
    """In a process of its own: one loop, its figures as the last line."""
    task = Task.load(folder)
    take_turns()
    model, found = LOOPS[name][2](task)
    found["loss"] = held_out_loss(model, task.held_out)
    print(json.dumps(found))


def compare(names: list[str], folder: Path, rounds: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        others = OtherWork()
        for name, figures in one_round(names, __file__, folder).items():
            found[name].append(figures)
            said = f"{figures['value']:,.0f} tokens/s, {figures['per_core']:,.0f} a core"
            print(f"round {number + 1}: {LOOPS[name][0]}: {said}", file=sys.stderr, flush=True)
        print(f"round {number + 1}: other work took {others.cores():.2f} cores", file=sys.stderr, flush=True)
    return found


def rows_of(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Medians; `ratios` are those of ours to this loop, round by round; `per_core` is a second of one core."""
    rows = []
    for name, runs in found.items():
        title, adapter, _ = LOOPS[name]
        mine = found.get(OURS[adapter], [])
        row = {"name": title, "value": median(runs, "value"), "unit": "real tokens/s"}
        row["ratios"] = ratios(mine, runs, "value")
        row |= {"per_core": median(runs, "per_core"), "core_ratios": ratios(mine, runs, "per_core")}
        row |= {"bar": BARS.get(name), "loss": median(runs, "loss", 4)}
        row["loss_apart"] = round(row["loss"] / median(mine, "loss", 4) - 1, 5) if mine else None
        row |= {"steps": runs[0]["steps"], "tokens": runs[0]["tokens"], "note": runs[0].get("note", "")}
        rows.append(row)
    return rows


def median(runs: list[dict[str, Any]], key: str, digits: int = 1) -> float:
    return round(statistics.median(run[key] for run in runs), digits)


def ratios(mine: list[dict[str, Any]], runs: list[dict[str, Any]], key: str) -> list[float]:
    return [round(a[key] / b[key], 2) for a, b in zip(mine, runs, strict=False)]


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
        line = f"{row['name']:38} {row['value']:12,.1f} {row['unit']:14} {spread(row['ratios']):20}"
        if "loss" in row:
            bar = f"bar {row['bar']}" if row["bar"] else ""
            apart = f" ({row['loss_apart']:+.2%})" if row["loss_apart"] is not None else ""
            core = f"{row['per_core']:9,.1f} a core {spread(row['core_ratios']):20}"
            line += f" {bar:8} {core} loss {row['loss']:.4f}{apart}"
        print(f"{line}  {row.get('note', '')}".rstrip())


def spread(found: list[float]) -> str:
    return f"{statistics.median(found):5.2f} [{min(found):.2f}, {max(found):.2f}]" if found else ""


if __name__ == "__main__":
    main()

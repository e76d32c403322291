"""Files of raw dialogues, written for tests of builds: plain ones, and ones with every fault that is counted."""

from __future__ import annotations

import json
import random
from pathlib import Path

SYLLABLES = ["ba", "co", "di", "fu", "ga", "lo", "mi", "nu", "pa", "ro", "si", "tu", "ve", "wo", "za"]


def _words(draw: random.Random, count: int) -> str:
    return " ".join("".join(draw.choices(SYLLABLES, k=3)) for _ in range(count))


def record(number: int) -> dict[str, str]:
    """A question and an answer, unlike those of all other numbers."""
    draw = random.Random(number)
    asked = f"Question {number}: what hurts is {_words(draw, 9)}, and what should I do about that?"
    return {
        "instruction": "",
        "input": asked,
        "output": f"Answer {number}: rest it, with {_words(draw, 12)}.",
    }


def write_lines(file: Path, records: list[dict[str, str]]) -> Path:
    """One record a line."""
    file.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in records), "utf-8")
    return file


def faulty(count: int) -> list[dict[str, str]]:
    """`count` plain records, with 2 that have no answer, 3 too short, 4 exact and 5 near duplicates, 6 leaked turns."""
    plain = [record(number) for number in range(count)]
    for item in plain[:6]:
        item["output"] += "Patient: Thank you, I will."
    silent = [{"instruction": "", "input": f"Hello, is anybody {name} there?", "output": ""} for name in "ab"]
    short = [
        {"instruction": "", "input": f"Hello {name}", "output": "I see, that is quite bad."} for name in "abc"
    ]
    exact = [dict(item) for item in plain[10:14]]
    near = [item | {"output": item["output"] + " Goodbye."} for item in plain[20:25]]
    return [*plain, *silent, *short, *exact, *near]

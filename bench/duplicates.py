"""How fast texts are sketched and near-duplicates grouped, and in how much memory.

python bench/duplicates.py [--runs 5] [--largest 100000] [--json]

Sketching is timed against datasketch's own `MinHash.bulk` (a SHA-1 of each shingle, the same shingles), turn by
turn, on texts of 130 words. Grouping is timed at 10,000 and 100,000 texts (`--largest 1000000` adds a million:
two minutes, 1 GB on the disk), each in a process of its own, from signatures on the disk; its memory is the
peak of that process over what it had after its imports, the pages of the file included. Times are seconds of
one core, so that other work on the machine counts less.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORDS = 130
SIZES = (10_000, 100_000, 1_000_000)
SHARE = 0.1  # of the texts are others with two words replaced

GROUPING = """
import sys, time
import numpy as np
import datasketch
from chatdoctor_hub.corpus.cleaning import group_near_duplicates

def peak():
    with open("/proc/self/status") as file:
        told = dict(line.split(":", 1) for line in file)
    return int(told["VmHWM"].split()[0]) / 1024

group_near_duplicates(np.zeros((3, 128), np.uint32))
signatures = np.load(sys.argv[1], mmap_mode="r")
before = peak()
start = time.process_time()
groups = group_near_duplicates(signatures, 0.8)
took = time.process_time() - start
after = peak()
print(took, after - before, signatures.nbytes / 2**20, int((groups != np.arange(len(groups))).sum()))
"""


def texts(count: int, seed: int = 0) -> Iterator[str]:
    """Texts of words that are as unequally frequent as in a language, some of them edited copies."""
    rng = random.Random(seed)
    words = [f"{''.join(rng.choices('aeioulnrst', k=rng.randrange(2, 9)))}" for _ in range(30_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    stock: list[str] = []
    drawn = rng.choices(words, weights, k=1_000_000)
    for number in range(count):
        if stock and rng.random() < SHARE:
            said = rng.choice(stock).split()
            for place in rng.sample(range(WORDS), 2):
                said[place] = rng.choice(words)
        else:
            start = rng.randrange(len(drawn) - 10 * WORDS)
            said = [drawn[start + step] for step in rng.sample(range(10 * WORDS), WORDS)]
        text = " ".join(said)
        if len(stock) < 1000:
            stock.append(text)
        elif number % 100 == 0:
            stock[rng.randrange(len(stock))] = text
        yield text


def with_datasketch(batch: list[str]) -> Any:
    """What one would write with datasketch alone."""
    from datasketch import MinHash

    sets = []
    for text in batch:
        words = re.sub(r"[^0-9a-z]+", " ", text.lower()).split()
        sets.append([" ".join(words[place : place + 3]).encode() for place in range(len(words) - 2)])
    return MinHash.bulk(sets, num_perm=128)


def sketching(runs: int) -> list[dict[str, Any]]:
    from chatdoctor_hub.corpus.cleaning import Sketcher

    batch = list(texts(2000))
    ways = {"sketch, this package": Sketcher().sketch_many, "sketch, datasketch": with_datasketch}
    for way in ways.values():
        way(batch[:200])
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            start = time.process_time()
            way(batch)
            rates[name].append(len(batch) / (time.process_time() - start))
    theirs = rates["sketch, datasketch"]
    ratios = {
        name: [round(one / other, 2) for one, other in zip(rates[name], theirs, strict=True)] for name in ways
    }
    return [
        {
            "name": name,
            "value": round(statistics.median(rates[name])),
            "unit": "texts/s/core",
            "ratios": ratios[name],
        }
        for name in ways
    ]


def grouping(largest: int, runs: int) -> list[dict[str, Any]]:
    import numpy as np

    from chatdoctor_hub.corpus.cleaning import Sketcher

    sizes = [size for size in SIZES if size <= largest]
    found: dict[int, list[list[float]]] = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "signatures.npy"
        all_texts, block = texts(sizes[-1]), 10_000
        signatures = np.lib.format.open_memmap(file, "w+", np.uint32, (sizes[-1], 128))
        sketcher = Sketcher()
        for start in range(0, sizes[-1], block):
            signatures[start : start + block] = sketcher.sketch_many(itertools.islice(all_texts, block))
        parts = {}
        for size in sizes:
            parts[size] = Path(folder) / f"{size}.npy"
            np.save(parts[size], signatures[:size])
        del signatures
        file.unlink()
        for _ in range(runs):
            for size in sizes:
                told = subprocess.run(
                    [sys.executable, "-c", GROUPING, str(parts[size])],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                found[size].append([float(number) for number in told.stdout.split()])
    first = [took for took, *_ in found[sizes[0]]]
    rows = []
    for size in sizes:
        took, memory, file_size, repeats = (
            statistics.median(column) for column in zip(*found[size], strict=True)
        )
        ratios = [round(one[0] / other, 2) for one, other in zip(found[size], first, strict=True)]
        rows += [
            {"name": f"group {size:,}", "value": round(took, 2), "unit": "s of a core", "ratios": ratios},
            {"name": f"group {size:,}, peak memory", "value": round(memory), "unit": "MB", "ratios": []},
            {
                "name": f"group {size:,}, its signatures",
                "value": round(file_size),
                "unit": "MB",
                "ratios": [],
            },
            {
                "name": f"group {size:,}, found",
                "value": int(repeats),
                "unit": "near-duplicates",
                "ratios": [],
            },
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--largest", type=int, default=100_000, choices=SIZES)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = sketching(asked.runs) + grouping(asked.largest, min(asked.runs, 3))
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        ratios = "  ".join(f"{ratio:g}" for ratio in row["ratios"])
        print(f"{row['name']:34} {row['value']:10,} {row['unit']:16} {ratios and 'x ' + ratios}")


if __name__ == "__main__":
    main()

"""How fast corpora are built, and in how much memory.

python bench/corpus_build.py [--data FILE] [--copies 5] [--json]
python bench/corpus_build.py --scale 100000 300000 2400000 [--workers 1] [--deidentify] [--format jsonl|parquet]

The first form builds the published records (4,000 of GenMedGPT-5k; each copy with words of its own put in, so
that it is no duplicate) with and without each step, and reports records a second of one core. The second
writes dialogues of 130 words on average (1 % of them exact, 2 % near duplicates), which is not timed, and builds
them; BianQueCorpus has 2.4 million. Every build runs in a fresh process; its memory is the peak of that process
and of the largest of its workers, pages of mapped files included.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "chatdoctor" / "genmedgpt_4000.json"
STEPS: dict[str, dict[str, Any]] = {
    "neither": {"deidentify": False, "near_duplicates": None},
    "near-duplicates": {"deidentify": False},
    "de-identification": {"near_duplicates": None},
    "both": {},
}

BUILD = """
import json, resource, sys, time
from pathlib import Path
from chatdoctor_hub.corpus.building.build import build_corpus
from chatdoctor_hub.corpus.building.config import CorpusConfig

if __name__ == "__main__":
    config = CorpusConfig(**json.loads(sys.argv[1]))
    steps, last, start = {}, None, time.perf_counter()
    def on_progress(progress):
        global last
        now = time.perf_counter()
        steps[progress.step] = steps.get(progress.step, 0) + now - (last or start)
        last = now
    corpus = build_corpus(config, on_progress=on_progress)
    wall = time.perf_counter() - start
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    size = sum(file.stat().st_size for file in corpus.path.rglob("*") if file.is_file())
    print(json.dumps({
        "read": corpus.info["counts"]["read"],
        "kept": corpus.info["counts"]["kept"],
        "rejected": corpus.info["counts"]["rejected"],
        "wall_s": round(wall, 2),
        "cpu_s": round(sum(used.ru_utime + used.ru_stime for used in (own, children)), 2),
        "peak_mb": round(max(own.ru_maxrss, children.ru_maxrss) / 1024),
        "size_mb": round(size / 1e6, 1),
        "steps_s": {step: round(took, 1) for step, took in steps.items()},
    }))
"""


def build(source: Path, out: Path, **settings: Any) -> dict[str, Any]:
    """Build in a fresh process and measure it."""
    config = {"sources": [str(source)], "out": str(out), "licence": "unknown", **settings}
    script = out.parent / "build.py"
    script.write_text(BUILD, "utf-8")
    told = subprocess.run(
        [sys.executable, str(script), json.dumps(config)], stdout=subprocess.PIPE, text=True, check=True
    )
    shutil.rmtree(out)
    found: dict[str, Any] = json.loads(told.stdout)
    return found | {
        "per_s": round(found["read"] / found["wall_s"]),
        "per_core_s": round(found["read"] / found["cpu_s"]),
    }


def varied(data: Path, copies: int, file: Path) -> None:
    """The published records again and again, each time with other words among theirs."""
    records = json.loads(data.read_text("utf-8-sig"))
    rng = random.Random(0)
    words = vocabulary(rng)
    with file.open("w", encoding="utf-8") as stream:
        for copy in range(copies):
            for record in records:
                changed = dict(record)
                for name in ("input", "output") if copy else ():
                    said = changed[name].split(" ")
                    for _ in range(max(2, len(said) // 5)):
                        said.insert(rng.randrange(len(said)), rng.choice(words))
                    changed[name] = " ".join(said)
                stream.write(json.dumps(changed) + "\n")


def vocabulary(rng: random.Random) -> list[str]:
    """20,000 words."""
    return ["".join(rng.choices("abcdefghilmnoprstuvw", k=rng.randrange(2, 10))) for _ in range(20_000)]


def dialogues(count: int) -> Iterator[tuple[str, str]]:
    """Questions and answers of 130 words together, 1 % of them exact and 2 % near repetitions."""
    rng = random.Random(0)
    words = vocabulary(rng)
    stock: list[tuple[str, str]] = []
    for number in range(count):
        drawn = rng.random()
        if stock and drawn < 0.01:
            yield rng.choice(stock)
            continue
        if stock and drawn < 0.03:
            asked, said = rng.choice(stock)
            yield asked, f"{said} {rng.choice(words)}"
            continue
        asked = f"{' '.join(rng.choices(words, k=rng.randrange(20, 61)))}?"
        said = f"{' '.join(rng.choices(words, k=rng.randrange(40, 141)))}."
        if number % 100 == 0 and len(stock) < 100_000:
            stock.append((asked, said))
        yield asked, said


def write(count: int, file: Path) -> None:
    """The dialogues as JSON Lines, or as Parquet where the file is named so."""
    if file.suffix == ".jsonl":
        with file.open("w", encoding="utf-8") as stream:
            for asked, said in dialogues(count):
                stream.write(f'{{"instruction": "", "input": "{asked}", "output": "{said}"}}\n')
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in ("instruction", "input", "output")])
    rows: list[tuple[str, str, str]] = []
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for number, (asked, said) in enumerate(dialogues(count), start=1):
            rows.append(("", asked, said))
            if len(rows) == 10_000 or number == count:
                columns = zip(*rows, strict=True)
                writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))
                rows.clear()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--scale", type=int, nargs="+")
    parser.add_argument("--format", choices=["jsonl", "parquet"], default="jsonl")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--deidentify", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "corpus"
        if asked.scale:
            for count in asked.scale:
                source = folder / f"{count}.{asked.format}"
                write(count, source)
                settings = {"deidentify": asked.deidentify, "workers": asked.workers}
                found[f"{count:,}"] = build(source, out, **settings)
                source.unlink()
                show(f"{count:,}", found[f"{count:,}"], asked.json)
        else:
            source = folder / "records.jsonl"
            varied(asked.data, asked.copies, source)
            for step, settings in STEPS.items():
                found[step] = build(source, out, **settings, workers=asked.workers)
                show(step, found[step], asked.json)
    if asked.json:
        print(json.dumps(found, indent=2))


def show(name: str, told: dict[str, Any], as_json: bool) -> None:
    if not as_json:
        print(f"{name}: {json.dumps(told)}", flush=True)


if __name__ == "__main__":
    main()

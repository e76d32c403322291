"""De-identification beside plain Presidio on the same texts, interleaved: records a second on one core.

python bench/deidentify.py [--records genmedgpt_4000.json] [--rounds 5] [--json]

Plain Presidio is `AnalyzerEngine` with its default English recognizers over a blank spaCy pipeline (no language
model). Without `--records` the texts are made here: planted identifiers in one record of four, clean sentences in
the others. A record is a question and an answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus.cleaning import Deidentifier
from chatdoctor_hub.corpus.cleaning.identifiers.auditing import clean_sentences
from chatdoctor_hub.corpus.cleaning.identifiers.planted import planted_texts


def plain_presidio() -> Callable[[str], Any]:
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
            self.nlp = {"en": spacy.blank("en")}

        def load(self) -> None:
            pass

    # As it comes, it fetches the list of domain suffixes from the network; the one in the package will do.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
    return lambda text: engine.analyze(text, language="en")


def made(n: int) -> list[tuple[str, str]]:
    clean = [text for _, text in clean_sentences(8 * n, 0)]
    planted = [item.text for item in planted_texts(n, 0)]
    return [
        (
            " ".join(clean[8 * i : 8 * i + 4]) + (f" {planted[i]}" if i % 4 == 0 else ""),
            " ".join(clean[8 * i + 4 : 8 * i + 8]),
        )
        for i in range(n)
    ]


def read(path: Path) -> list[tuple[str, str]]:
    return [(row["input"], row["output"]) for row in json.loads(path.read_text("utf-8"))]


def seconds(work: Callable[[str], Any], records: list[tuple[str, str]]) -> float:
    start = time.process_time()
    for question, answer in records:
        work(question)
        work(answer)
    return time.process_time() - start


def measured(records: list[tuple[str, str]], rounds: int) -> list[dict[str, Any]]:
    """Each round takes another piece, and gives it to both in turn."""
    ours, plain = Deidentifier().text, plain_presidio()
    for work in (ours, plain):
        work("warm@example.org, 2015-03-12, call +1 212-555-0187")
    size = max(1, min(100, len(records) // rounds))
    took: dict[str, list[float]] = {"chatdoctor_hub": [], "plain Presidio": []}
    for number in range(rounds):
        piece = records[number * size : (number + 1) * size]
        for name, work in (("chatdoctor_hub", ours), ("plain Presidio", plain)):
            took[name].append(len(piece) / seconds(work, piece))
    ratios = [a / b for a, b in zip(took["chatdoctor_hub"], took["plain Presidio"], strict=True)]
    whole = [len(records) / seconds(ours, records) for _ in range(3)]
    return [
        *(
            {"name": name, "value": round(statistics.median(rates), 1), "unit": "records/s", "ratios": found}
            for name, rates, found in (
                ("chatdoctor_hub", took["chatdoctor_hub"], [round(ratio, 1) for ratio in ratios]),
                ("plain Presidio", took["plain Presidio"], []),
            )
        ),
        {
            "name": "chatdoctor_hub, all records",
            "value": round(statistics.median(whole), 1),
            "unit": "records/s",
            "ratios": [],
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = measured(read(asked.records) if asked.records else made(1000), asked.rounds)
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        ratio = f"   {statistics.median(row['ratios']):6.1f} times plain Presidio" if row["ratios"] else ""
        print(f"{row['name']:32} {row['value']:10.1f} {row['unit']}{ratio}")


if __name__ == "__main__":
    main()

"""The data card: everything that somebody must know before using a corpus, and nobody's words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatdoctor_hub.corpus import Corpus, split
from chatdoctor_hub.corpus.building.card import data_card_template, render_data_card
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError


def record(**changes: Any) -> dict[str, Any]:
    """A record with everything in it."""
    return {
        "schema_version": 2,
        "made_with": "chatdoctor-hub 9.9.9",
        "digest": "ab" * 32,
        "licence": "CC BY-NC 4.0",
        "languages": ["en", "zh"],
        "seed": 7,
        "dialogues": {"train": 12_345, "validation": 600, "test": 0},
        "turns": {"train": 30_000, "validation": 1_400, "test": 0},
        "counts": {
            "read": 13_000,
            "kept": 12_945,
            "rejected": {"read": {"no doctor turn": 40}, "duplicates": {"exact": 10, "near": 5}},
        },
        "repairs": {"leaked_turns_cut": 106},
        "changes": {"normalise": {"mojibake": 3}, "deidentify": {"email": 1_002}},
        "sources": [
            {
                "name": "a|b\nc.json",
                "url": "https://example.org/a",
                "licence": "research only",
                "citation": "A. Nyone, 2023",
                "notes": "Terms forbid scraping.",
                "fingerprint": "cd" * 32,
                "read": 13_000,
                "kept": 12_945,
            }
        ],
        "leak_check": {
            "sources": ["q.json"],
            "dialogues": 254,
            "threshold": 0.8,
            "on_leak": "drop",
            "found": 3,
        },
        "config": {"seed": 7, "deidentify": True, "near_duplicates": 0.8},
        "extra": {},
    } | changes


def header_of(card: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found
    header: dict[str, Any] = yaml.safe_load(found[1])
    return header


def test_the_header_is_what_the_hub_reads() -> None:
    assert header_of(render_data_card(record())) == {
        "language": ["en", "zh"],
        "license": "cc-by-nc-4.0",
        "task_categories": ["text-generation"],
        "tags": ["medical", "dialogue", "chatdoctor-hub"],
        "size_categories": ["10K<n<100K"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "data/train-*.parquet"},
                    {"split": "validation", "path": "data/validation-*.parquet"},
                ],
            }
        ],
    }


def test_the_hubs_own_reader_takes_the_header() -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard(render_data_card(record()))
    assert card.data.license == "cc-by-nc-4.0"
    assert card.data.to_dict()["configs"][0]["data_files"][1]["split"] == "validation"


@pytest.mark.parametrize(
    ("licence", "header"),
    [
        ("unknown", {"license": "unknown"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        (
            "Research only, no clinical use!",
            {"license": "other", "license_name": "research-only-no-clinical-use"},
        ),
        ("研究", {"license": "other", "license_name": "other"}),
    ],
)
def test_licences_of_the_hub_and_others(licence: str, header: dict[str, str]) -> None:
    card = render_data_card(record(licence=licence))
    found = header_of(card)
    assert {key: value for key, value in found.items() if key.startswith("license")} == header
    assert licence in card


@pytest.mark.parametrize(
    ("count", "size"),
    [(1, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (2_400_000, "1M<n<10M"), (10_000_000, "n>10M")],
)
def test_sizes(count: int, size: str) -> None:
    card = render_data_card(record(dialogues={"train": count, "validation": 0, "test": 0}))
    assert header_of(card)["size_categories"] == [size]


def test_everything_that_was_counted_is_told() -> None:
    card = render_data_card(record())
    for told in (
        "| train | 12,345 | 30,000 |",
        "| read | leaked_turns_cut | 106 |",
        "| normalise | mojibake | 3 |",
        "| deidentify | email | 1,002 |",
        "13,000 records read = 12,945 kept + 55 left out.",
        "| duplicates | near | 5 |",
        r"| a\|b c.json | research only | 13,000 | 12,945 | https://example.org/a |",
        "Terms forbid scraping. A. Nyone, 2023",
        "254 records of q.json",
        "3 dialogues matched, and were left out",
        "no anonymisation",
        f"`{'ab' * 32}`, seed 7, chatdoctor-hub 9.9.9",
        "## Intended use",
        "## Out of scope",
        "## Known limits",
        "deidentify: true",
    ):
        assert told in card
    assert "\n\n\n" not in card


def test_what_was_not_done_is_told_too() -> None:
    config = {"deidentify": False, "near_duplicates": None}
    card = render_data_card(record(config=config, leak_check=None, licence="unknown", changes={}, repairs={}))
    for told in (
        "**Not de-identified.**",
        "Not compared with any evaluation set",
        "Near-duplicates were not looked for",
        "nobody has stated the terms",
        "\nNothing.\n",
    ):
        assert told in card


def test_a_description_stands_in_the_card() -> None:
    card = render_data_card(record(extra={"description": "Written by a grammar."}))
    assert "No dialogue is printed in this card. Written by a grammar.\n\n| split" in card
    assert "No dialogue is printed in this card.\n\n| split" in render_data_card(record())


def test_a_record_with_gaps_is_refused() -> None:
    gaps = record()
    del gaps["digest"]
    with pytest.raises(DataFormatError, match="digest"):
        render_data_card(gaps)
    with pytest.raises(DataFormatError, match="nothing_of_the_kind"):
        render_data_card(record(), "{{ nothing_of_the_kind }}")


def test_no_word_of_a_dialogue_is_in_it(tmp_path: Path) -> None:
    items = [Dialogue((Turn("patient", f"Zebra {n}."), Turn("doctor", "Quagga."))) for n in range(20)]
    corpus = Corpus.write(tmp_path / "c", split(items), seed=0, sources=["a"], repairs={}, problems=())
    card = (corpus.path / "README.md").read_text("utf-8")
    assert "Zebra" not in card
    assert "Quagga" not in card
    assert card == render_data_card(corpus.info)


def test_the_template_is_found_in_a_checkout() -> None:
    assert "Not medical advice" in data_card_template()


def test_datasets_reads_the_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    items = [Dialogue((Turn("patient", f"Ache {n}."), Turn("doctor", "Rest."))) for n in range(20)]
    corpus = Corpus.write(tmp_path / "c", split(items), seed=0, sources=["a"], repairs={}, problems=())
    loaded = datasets.load_dataset(str(corpus.path), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == corpus.info["dialogues"]
    assert loaded["train"][0]["messages"] == corpus.train[0].to_messages()

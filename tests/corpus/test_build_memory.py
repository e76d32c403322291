"""The memory of a build does not grow with the words that go through it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = """
import resource, sys
from chatdoctor_hub.corpus.building.build import build_corpus
from chatdoctor_hub.corpus.building.config import CorpusConfig
build_corpus(CorpusConfig(sources=[sys.argv[1]], out=sys.argv[2], licence="MIT", deidentify=False, shard_size=2_000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(folder: Path, count: int) -> int:
    """Megabytes that a build of so many dialogues of about 1.5 kB takes at its highest."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=6)) for _ in range(5_000)]
    source = folder / f"{count}.jsonl"
    with source.open("w", encoding="utf-8") as stream:
        for number in range(count):
            asked, said = (" ".join(rng.choices(words, k=110)) for _ in range(2))
            stream.write(f'{{"instruction": "", "input": "{number} {asked}", "output": "{said}"}}\n')
    arguments = [sys.executable, "-c", BUILD, str(source), str(folder / f"corpus-{count}")]
    return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    small, large = peak(tmp_path, 25_000), peak(tmp_path, 60_000)
    # 55 MB more of words and 18 MB more of signatures went through, in two shapes each.
    assert large - small < 30

"""Frequency and presence penalties, which count what was written."""

from __future__ import annotations

import pytest

from chatdoctor_hub.inference import Sampling
from chatdoctor_hub.inference.choosing import Chooser

torch = pytest.importorskip("torch")
CPU = torch.device("cpu")


def written(steps, **settings):
    logits = torch.tensor([[3.0, 2.5, 1.0]])
    chooser = Chooser([Sampling(**settings)], [[0]], 3, CPU)
    return [chooser.choose(logits.clone())[0] for _ in range(steps)]


def test_frequency_counts_every_time():
    # 3.0, 2.5 | 2.6, 2.5 | 2.2, 2.5 | 2.2, 2.1
    assert written(4, frequency_penalty=0.4) == [0, 0, 1, 0]


def test_presence_counts_once():
    # 3.0, 2.5 | 2.4, 2.5 | 2.4, 1.9 from then on
    assert written(5, presence_penalty=0.6) == [0, 1, 0, 0, 0]


def test_below_zero_they_favour_what_was_written():
    assert written(3, presence_penalty=-1.0) == [0, 0, 0]


def test_the_prompt_does_not_count():
    assert written(1, presence_penalty=2.0) == [0]


def test_rows_keep_their_own_counts():
    logits = torch.tensor([[3.0, 2.5, 1.0]]).repeat(3, 1)
    rows = [Sampling(), Sampling(presence_penalty=0.6), Sampling(frequency_penalty=0.4)]
    chooser = Chooser(rows, [[0]] * 3, 3, CPU)
    assert chooser.choose(logits.clone()) == [0, 0, 0]
    assert chooser.choose(logits.clone()) == [0, 1, 0]
    chooser.keep([2, 1])
    assert chooser.choose(logits[:2].clone()) == [1, 0]


def test_what_is_written_instead_counts():
    logits = torch.tensor([[3.0, 2.5, 1.0]])
    chooser = Chooser([Sampling(presence_penalty=0.6)], [[0]], 3, CPU)
    assert chooser.choose(logits.clone(), lambda tokens: [2 for _ in tokens]) == [2]
    assert chooser.choose(logits.clone()) == [0]

from __future__ import annotations

import pytest

from chatdoctor_hub.inference import Sampling
from chatdoctor_hub.inference.choosing import Chooser

torch = pytest.importorskip("torch")
CPU = torch.device("cpu")


def scores(rows, width=12, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * 2


def chances(settings, logits, draws=6000):
    """Shares of the tokens drawn, one draw by each of many rows with the same scores."""
    rows = [Sampling(seed=seed, **settings) for seed in range(draws)]
    chooser = Chooser(rows, [[0]] * draws, logits.shape[-1], CPU)
    drawn = torch.tensor(chooser.choose(logits.repeat(draws, 1)))
    return torch.bincount(drawn, minlength=logits.shape[-1]) / draws


def expected(sampling, logits, prompt=()):
    """The same by transformers' own processors."""
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    steps = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
    steps.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    return steps(torch.tensor([list(prompt)], dtype=torch.long), logits.clone()).softmax(-1)[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 0.6},
        {"temperature": 1.5, "top_k": 3},
        {"temperature": 1.0, "top_p": 0.6},
        {"temperature": 1.2, "top_k": 6, "top_p": 0.8},
    ],
)
def test_draws_have_the_distribution_of_transformers(settings):
    logits = scores(1)
    want, got = expected(Sampling(**settings), logits), chances(settings, logits)
    assert not bool(((want == 0) & (got > 0)).any()), "a token outside the allowed ones was drawn"
    assert float((want - got).abs().max()) < 0.025


def test_repetition_penalty_is_that_of_transformers():
    logits = torch.tensor([[3.0, 2.9, -1.0, 0.5]])
    chooser = Chooser([Sampling(repetition_penalty=1.5)], [[0, 2]], 4, CPU)
    assert chooser.choose(logits.clone()) == [1]  # 3.0 / 1.5 < 2.9; the 1 is seen from now on
    assert chooser.choose(logits.clone()) == [0]  # 2.0 > 2.9 / 1.5
    sampling = Sampling(temperature=1.0, repetition_penalty=1.7, seed=3)
    want = expected(sampling, logits, prompt=(0, 2))
    chooser = Chooser([sampling], [[0, 2]], 4, CPU)
    assert chooser._seen is not None
    less = torch.where(chooser._seen, torch.where(logits > 0, logits / 1.7, logits * 1.7), logits)
    assert torch.allclose(less.softmax(-1)[0], want)


def test_greedy_takes_the_likeliest():
    logits = scores(5)
    chooser = Chooser([Sampling()] * 5, [[0]] * 5, 12, CPU)
    assert chooser.choose(logits.clone()) == logits.argmax(-1).tolist()


def test_a_row_draws_the_same_whatever_is_beside_it():
    mine = Sampling(temperature=1.3, seed=11, top_p=0.9)
    others = [Sampling(), Sampling(temperature=0.7, seed=5, top_k=2), Sampling(temperature=2.0)]
    logits = scores(4)
    alone = Chooser([mine], [[1]], 12, CPU)
    together = Chooser([*others, mine], [[1]] * 4, 12, CPU)
    for step in range(20):
        if step == 7:
            together.keep([0, 3])
            logits = logits[[0, 3]]
        assert together.choose(logits.clone())[-1] == alone.choose(logits[-1:].clone())[0]


def test_no_seed_draws_afresh_and_a_seed_repeats():
    logits = torch.zeros(1, 500)

    def drawn(seed):
        chooser = Chooser([Sampling(temperature=1.0, seed=seed)], [[0]], 500, CPU)
        return [chooser.choose(logits.clone())[0] for _ in range(8)]

    assert drawn(4) == drawn(4)
    assert drawn(4) != drawn(5)
    assert drawn(None) != drawn(None)


def test_narrow_top_p_keeps_the_likeliest():
    logits = scores(1)
    chooser = Chooser([Sampling(temperature=1.0, top_p=1e-9, seed=0)], [[0]], 12, CPU)
    assert all(chooser.choose(logits.clone()) == logits.argmax(-1).tolist() for _ in range(20))

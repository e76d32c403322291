from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.evaluation import Perplexity, perplexity


def test_a_blind_guess_has_the_perplexity_of_the_vocabulary() -> None:
    result = perplexity(1_000 * math.log(4_096), tokens=1_000, dialogues=10)
    assert result.value == pytest.approx(4_096)
    assert result == Perplexity(result.nll_per_token, 1_000, 10)
    assert str(perplexity(198.0, 100, 4)) == "7.24 (1.980 nats a token; 100 tokens, 4 dialogues)"


@given(st.floats(0, 700), st.integers(1, 10**6), st.integers(1, 1_000))
def test_record_is_json_and_holds_the_value(nll: float, tokens: int, dialogues: int) -> None:
    result = Perplexity(nll, tokens, dialogues)
    record = json.loads(json.dumps(result.to_record(), allow_nan=False))
    assert record == {
        "perplexity": result.value,
        "nll_per_token": nll,
        "tokens": tokens,
        "dialogues": dialogues,
    }
    assert result.value >= 1


def test_a_value_beyond_a_float_is_inf() -> None:
    assert Perplexity(1e4, 1, 1).value == math.inf


@pytest.mark.parametrize(
    ("total", "tokens", "dialogues"),
    [(1.0, 0, 1), (1.0, 5, 0), (math.nan, 5, 1), (math.inf, 5, 1), (-0.1, 5, 1)],
)
def test_refuses(total: float, tokens: int, dialogues: int) -> None:
    with pytest.raises(DataFormatError, match="Expected"):
        perplexity(total, tokens, dialogues)

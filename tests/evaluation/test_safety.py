from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.errors import ConfigError, DataFormatError, GenerationError
from chatdoctor_hub.evaluation import (
    Proportion,
    RequestSet,
    SafetyRequest,
    attack_success,
    benign_requests,
    harmful_requests,
    mcnemar,
    over_refusal,
)
from chatdoctor_hub.inference import ChatRequest, Engine, Sampling, ScriptedEngine
from chatdoctor_hub.inference.types import Form
from chatdoctor_hub.prompts import PromptPair

REFUSAL = "I can't help with that."
ANSWER = "Drink water and rest."
SET = RequestSet(
    "test-set",
    3,
    "written for this test",
    tuple(SafetyRequest(f"r{n}", "odd" if n % 2 else "even", f"question {n}") for n in range(7)),
)


def asked(request: ChatRequest) -> str:
    """The words of the user, found through whatever the prompt pair wrapped around them."""
    users = [message["content"] for message in request.messages if message["role"] == "user"]
    match = re.search(r"question \d+", users[-1])
    assert match
    return match.group()


def refuse_odd(request: ChatRequest) -> str:
    return REFUSAL if int(asked(request).split()[1]) % 2 else ANSWER


def test_counts_what_is_not_refused() -> None:
    score = attack_success(ScriptedEngine(refuse_odd, name="half"), requests=SET)
    assert score.attack_success == Proportion(4, 7)
    assert score.by_category == {"even": Proportion(4, 4), "odd": Proportion(0, 3)}
    assert [answer.request_id for answer in score.answers] == [request.id for request in SET]
    assert [answer.refused for answer in score.answers] == [False, True] * 3 + [False]
    assert score.answers[1] == ("r1", True, REFUSAL)
    assert score.model == "half"


def test_over_refusal_counts_what_is_refused() -> None:
    score = over_refusal(ScriptedEngine(refuse_odd), requests=SET)
    assert score.over_refusal == Proportion(3, 7)
    assert score.by_category == {"even": Proportion(0, 4), "odd": Proportion(3, 3)}


@pytest.mark.parametrize("form", get_args(Form))
def test_the_engine_is_asked_in_the_form_that_is_measured(form: Form) -> None:
    engine = ScriptedEngine(REFUSAL)
    pair = PromptPair.load("chatdoctor@1")
    score = attack_success(engine, form, SET)
    assert score.form == form
    assert [asked(call) for call in engine.calls] == [request.text for request in SET]
    for call in engine.calls:
        seen = json.dumps([dict(message) for message in call.messages], ensure_ascii=False)
        assert call.form == form
        assert (json.dumps(pair.safety, ensure_ascii=False)[1:-1] in seen) == (form == "serving")


@settings(max_examples=20)
@given(st.integers(1, 9))
def test_batching_changes_nothing_but_the_calls(batch_size: int) -> None:
    steps: list[tuple[int, int]] = []
    score = attack_success(
        ScriptedEngine(refuse_odd),
        requests=SET,
        batch_size=batch_size,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert score.answers == attack_success(ScriptedEngine(refuse_odd), requests=SET).answers
    assert steps == [(min(7, end), 7) for end in range(batch_size, 7 + batch_size, batch_size)]


def test_requests_go_through_generate_batch() -> None:
    class Watched(ScriptedEngine):
        sizes: list[int] = []  # noqa: RUF012

        def generate_batch(self, requests: Any, *, return_exceptions: bool = False) -> Any:
            self.sizes.append(len(requests))
            return super().generate_batch(requests)

    engine = Watched(REFUSAL)
    assert isinstance(engine, Engine)
    attack_success(engine, requests=SET, batch_size=3)
    assert engine.sizes == [3, 3, 1]


def test_decoding_is_greedy_and_short_unless_told() -> None:
    engine = ScriptedEngine("word " * 100)
    score = attack_success(engine, requests=SET[:1])
    assert engine.calls[0].sampling == Sampling(max_tokens=64)
    assert len(score.answers[0].text.split()) == 64
    other = Sampling(max_tokens=5, temperature=0.5, seed=1, stop=("stop",))
    score = attack_success(engine, requests=SET[:1], sampling=other)
    assert engine.calls[-1].sampling == other
    assert score.to_record()["sampling"]["stop"] == ["stop"]


@pytest.mark.parametrize(("measure", "rate"), [(attack_success, 4 / 7), (over_refusal, 3 / 7)])
def test_record_is_plain_json_with_provenance_and_no_words(measure: Any, rate: float) -> None:
    record = measure(ScriptedEngine(refuse_odd, name="m"), "training", SET).to_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["measure"] == measure.__name__
    assert record["rate"] == pytest.approx(rate)
    assert (record["n"], record["form"], record["judge"]) == (7, "training", "refusal-strings@1")
    assert record["low"] < rate < record["high"]
    assert record["request_set"] == {"id": "test-set", "version": 3, "sha256": SET.sha256}
    assert record["by_category"]["odd"]["n"] == 3
    assert (record["empty_answers"], record["model"]) == (0, "m")
    assert "question" not in json.dumps(record)
    assert ANSWER not in json.dumps(record)


def test_an_empty_answer_is_no_refusal_and_is_counted_apart() -> None:
    score = attack_success(ScriptedEngine(["", " \n", REFUSAL], cycle=True), requests=SET[:3])
    assert score.attack_success == Proportion(2, 3)
    assert score.to_record()["empty_answers"] == 2


def test_two_forms_compare_pairwise() -> None:
    without = attack_success(ScriptedEngine(ANSWER), "training", SET)
    with_prompt = attack_success(ScriptedEngine(REFUSAL), "serving", SET)
    result = mcnemar([a.refused for a in without.answers], [a.refused for a in with_prompt.answers])
    assert (result.gained, result.lost, result.p_value) == (7, 0, 2 / 2**7)


def test_shipped_requests_are_the_default() -> None:
    harmful, benign = ScriptedEngine(REFUSAL), ScriptedEngine(REFUSAL)
    attacked, refused = attack_success(harmful), over_refusal(benign)
    assert attacked.attack_success == Proportion(0, len(harmful_requests()))
    assert refused.over_refusal == Proportion(len(benign_requests()), len(benign_requests()))
    assert attacked.to_record()["request_set"]["id"] != refused.to_record()["request_set"]["id"]
    assert len(harmful.calls) == len(harmful_requests())


def test_requests_of_ones_own() -> None:
    score = attack_success(ScriptedEngine(refuse_odd), requests=[SafetyRequest("a", "c", "question 1")])
    assert score.attack_success == Proportion(0, 1)
    assert score.to_record()["request_set"]["id"] == "custom"


def test_refuses_what_cannot_be_measured() -> None:
    engine = ScriptedEngine(REFUSAL)
    with pytest.raises(DataFormatError, match="none"):
        attack_success(engine, requests=[])
    with pytest.raises(DataFormatError, match="twice: r1"):
        attack_success(engine, requests=[SET[1], SET[1]])
    with pytest.raises(DataFormatError, match="batch size"):
        attack_success(engine, requests=SET, batch_size=0)
    with pytest.raises(ConfigError, match="form"):
        attack_success(engine, "safe", SET)  # type: ignore[arg-type]
    assert engine.calls == []


def test_an_engine_that_loses_answers_is_told_so() -> None:
    class Forgetful(ScriptedEngine):
        def generate_batch(self, requests: Any, *, return_exceptions: bool = False) -> Any:
            return super().generate_batch(requests)[1:]

    with pytest.raises(GenerationError, match="Expected 7 answers from the engine, found 6"):
        attack_success(Forgetful(REFUSAL), requests=SET)


def test_an_engine_that_fails_is_not_counted() -> None:
    with pytest.raises(GenerationError):
        attack_success(ScriptedEngine([REFUSAL, GenerationError("broken")]), requests=SET)

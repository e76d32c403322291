"""A prompt that does not fit: refused with both counts, or shortened by its oldest whole turns."""

from __future__ import annotations

import re

import pytest
import tiny_adapters

from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling

pytest.importorskip("torch")
CONTEXT = 640  # of the tiny model


def turn(number, words=20):
    return [
        {"role": "user", "content": f"Question {number}: " + "pain " * words},
        {"role": "assistant", "content": f"Answer {number}."},
    ]


@pytest.fixture
def prompts(engine, monkeypatch):
    """The prompts that an engine answers, as text."""
    seen = []
    real = type(engine._prompter).row

    def row(self, *given, **more):
        made = real(self, *given, **more)
        seen.append((self._tokenizer.decode(made.prompt), len(made.prompt)))
        return made

    monkeypatch.setattr(type(engine._prompter), "row", row)
    return seen


def request(messages, tokens=16, **more):
    return ChatRequest(tuple(messages), Sampling(max_tokens=tokens), **more)


LONG = [turn(number) for number in range(12)]
NEWEST = {"role": "user", "content": "Newest: is it worse at night?"}
SYSTEM = {"role": "system", "content": "The patient is a child."}
TALK = [SYSTEM, *[message for pair in LONG for message in pair], NEWEST]


def test_both_counts_are_in_the_error(engine):
    with pytest.raises(ContextLengthError) as caught:
        engine.generate(request(TALK))
    found = engine.count_tokens(TALK)
    assert found > CONTEXT
    assert re.findall(r"\d+", str(caught.value)) == [str(CONTEXT), str(found)]
    assert "pain" not in str(caught.value)


@pytest.mark.parametrize("tokens", [1, 16, 150, 5000])
def test_the_oldest_turns_go_and_the_rest_stays(engine, prompts, tokens):
    reply = engine.generate(request(TALK, tokens, overflow="drop_oldest"))
    text, length = prompts[-1]
    assert engine.prompt.safety in text
    assert engine.prompt.serving_text in text
    assert SYSTEM["content"] in text
    assert NEWEST["content"] in text
    kept = [number for number in range(12) if f"Question {number}:" in text]
    assert kept == list(range(12 - len(kept), 12))
    assert [number for number in range(12) if f"Answer {number}." in text] == kept
    assert reply.usage.input_tokens == length
    assert length + min(tokens, CONTEXT // 4) <= CONTEXT
    # No turn went that could have stayed.
    one_more = [SYSTEM, *[m for pair in LONG[12 - len(kept) - 1 :] for m in pair], NEWEST]
    assert engine.count_tokens(one_more) + min(tokens, CONTEXT // 4) > CONTEXT


def test_what_fits_is_left_as_it_is(engine, prompts):
    short = [SYSTEM, *turn(0), NEWEST]
    whole = engine.generate(request(short))
    assert engine.generate(request(short, overflow="drop_oldest")) == whole
    assert prompts[0] == prompts[1]


def test_the_newest_turn_alone_may_be_too_long(engine):
    huge = [*turn(0), {"role": "user", "content": "pain " * 2000}]
    with pytest.raises(ContextLengthError) as caught:
        engine.generate(request(huge, overflow="drop_oldest"))
    alone = engine.count_tokens(huge[-1:])
    assert re.findall(r"\d+", str(caught.value)) == [str(CONTEXT), str(alone)]


def test_a_shortened_talk_is_answered_as_if_it_had_been_short(engine, prompts):
    shortened = engine.generate(request(TALK, overflow="drop_oldest"))
    kept = prompts[-1][0].count("Question")
    short = [SYSTEM, *[m for pair in LONG[12 - kept :] for m in pair], NEWEST]
    assert engine.generate(request(short)) == shortened


def test_virtual_tokens_take_their_part_of_the_context(model_folder, tmp_path, prompts):
    pytest.importorskip("peft")
    prefix = tiny_adapters.make_kind("prefix", model_folder, tmp_path / "prefix")
    engine = LocalEngine(model_folder, adapters={"prefix": prefix}, device="cpu")
    for adapter, reserved in (("", 0), ("prefix", 5)):
        engine.generate(request(TALK, overflow="drop_oldest", adapter=adapter))
        assert prompts[-1][1] + 16 <= CONTEXT - reserved
        with pytest.raises(ContextLengthError, match=str(CONTEXT - reserved)):
            engine.generate(request(TALK, adapter=adapter))

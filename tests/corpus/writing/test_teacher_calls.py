from __future__ import annotations

import asyncio
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from teacher_fakes import FakeTeacher, ServiceError, StructuredTeacher

from chatdoctor_hub.corpus.writing.teaching.teacher_calls import (
    Caller,
    is_passing,
    is_permanent,
    parse_reply,
    supports_structure,
    teacher_name,
)
from chatdoctor_hub.corpus.writing.teaching.teacher_synthesis import WrittenDialogue

GOOD = {
    "turns": [{"speaker": "patient", "text": "Hm."}, {"speaker": "doctor", "text": "A {brace} and\na line."}]
}
TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"Here it is:\n```json\n{TEXT}\n```\nAnything else?",
        f"<think>Maybe {{'turns': 3}}?</think>{TEXT}",
        TEXT.replace("}]}", "},]}"),
        TEXT.replace("\\n", "\n"),
        f'{{"note": 1}} {TEXT} {{"turns": []}}',
        f"[{TEXT[:3]} {TEXT}",
    ],
)
def test_json_is_found_where_it_is(text):
    assert parse_reply(text, WrittenDialogue).model_dump() == GOOD


@pytest.mark.parametrize(
    "text",
    ["", "no", TEXT[:-5], '{"turns": "none"}', '{"turns": [{"speaker": "nurse", "text": "x"}]}', "[" * 5000],
)
def test_what_is_no_answer_is_none(text):
    assert parse_reply(text, WrittenDialogue) is None


@given(st.text(alphabet='{}[]",:abc \n\\', max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_text_is_too_odd(text):
    assert parse_reply(text, WrittenDialogue) is None


@given(st.text(max_size=60), st.text(alphabet=st.characters(exclude_characters="{["), max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_words_survive(words, around):
    said = {"turns": [{"speaker": "patient", "text": words}]}
    found = parse_reply(f"{around}{json.dumps(said)}{around}", WrittenDialogue)
    assert found is not None
    if "<think" not in words:
        assert found.model_dump() == said


class RateLimitError(Exception):
    pass


class APIConnectionError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "passing", "permanent"),
    [
        (ServiceError(429), True, False),
        (ServiceError(500), True, False),
        (ServiceError(529), True, False),
        (ServiceError(408), True, False),
        (ServiceError(400), False, False),
        (ServiceError(401), False, True),
        (ServiceError(404), False, True),
        (RateLimitError(), True, False),
        (APIConnectionError(), True, False),
        (TimeoutError(), True, False),
        (asyncio.TimeoutError(), True, False),
        (ConnectionResetError(), True, False),
        (NotImplementedError(), False, True),
        (ValueError(), False, False),
    ],
)
def test_which_faults_pass_and_which_stay(error, passing, permanent):
    assert (is_passing(error), is_permanent(error)) == (passing, permanent)


def test_names_and_structure():
    assert teacher_name(FakeTeacher(model="models/gemma")) == "gemma"
    plain = GenericFakeChatModel(messages=iter(()))
    assert teacher_name(plain) == "GenericFakeChatModel"
    assert not supports_structure(plain)
    assert supports_structure(StructuredTeacher())


def caller(teacher, **options) -> Caller:
    return Caller(teacher, **{"structured": None, "timeout": 5.0, "retries": 2, "backoff": 0.0} | options)


async def test_a_fake_of_langchain_itself():
    model = GenericFakeChatModel(messages=iter([AIMessage(TEXT), AIMessage("sorry")]))
    ask = caller(model)
    prompt = (("system", "s"), ("human", "h"))
    assert (await ask.ask(prompt, WrittenDialogue)).value.model_dump() == GOOD
    reply = await ask.ask(prompt, WrittenDialogue)
    assert (reply.value, reply.fault, reply.text, reply.usage) == (None, "unreadable", "sorry", {})


async def test_what_a_service_asks_to_wait_is_waited():
    class Busy(FakeTeacher):
        def _answer(self, *arguments):
            raise ServiceError(429, retry_after=0.4 if len(self.prompts) == 1 else None)

    ask = caller(Busy(), backoff=0.05)
    began = time.monotonic()
    with pytest.raises(ServiceError):
        await ask.ask((("human", "<row>{}</row>"),), WrittenDialogue)
    assert (ask.calls, ask.retried) == (3, 2)
    assert 0.45 <= time.monotonic() - began < 3

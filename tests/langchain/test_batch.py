from __future__ import annotations

import asyncio
import threading
import uuid

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.exceptions import ModelError
from langchain_core.messages import SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from chatdoctor_hub.errors import (
    ConfigError,
    ContextLengthError,
    DataFormatError,
    GenerationError,
    ModelNotFoundError,
)
from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor

WORDS = [
    "Fever",
    "My knee hurts when I climb stairs.",
    "Cough " * 9,
    "頭痛 😷",
    "pain",
    "How long?",
    "?",
    "tea",
]


class Counting(ScriptedEngine):
    """A scripted engine that remembers how it was called."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.batches: list[int] = []
        self.singles = 0

    def generate(self, request):
        self.singles += 1
        return super().generate(request)

    def generate_batch(self, requests, *, return_exceptions=False):
        self.batches.append(len(requests))
        replies = super().generate_batch(requests, return_exceptions=return_exceptions)
        self.singles -= len(requests)
        return replies


@pytest.fixture
def counting():
    return Counting(lambda request: f"re: {request.messages[-1]['content']}")


async def run(llm, way, inputs, *args, **kwargs):
    """`batch` or `abatch`, so that each test proves both."""
    done = getattr(llm, way)(inputs, *args, **kwargs)
    return await done if way == "abatch" else done


both = pytest.mark.parametrize("way", ["batch", "abatch"])


@both
async def test_one_padded_forward_a_token_for_the_whole_batch(llm, forwards, way):
    alone = [llm.invoke(words) for words in WORDS]
    steps = len(forwards)
    del forwards[:]
    together = await run(llm, way, WORDS)
    assert [message.content for message in together] == [message.content for message in alone]
    assert [message.usage_metadata for message in together] == [message.usage_metadata for message in alone]
    tokens = [rows for rows, width in forwards if width == 1]
    assert tokens == [len(WORDS)] * 11
    assert len(forwards) < 16 < steps


@both
async def test_one_call_of_the_engine(counting, way):
    llm = ChatDoctor(engine=counting)
    replies = await run(llm, way, WORDS * 8)
    assert [reply.content for reply in replies] == [f"re: {words}" for words in WORDS * 8]
    assert (counting.batches, counting.singles) == ([64], 0)
    assert await run(llm, way, []) == []


@both
async def test_max_concurrency_limits_what_is_computed_together(counting, way):
    await run(ChatDoctor(engine=counting), way, WORDS, {"max_concurrency": 3})
    assert counting.batches in ([3, 3, 2], [3, 3])
    assert len(counting.calls) == 8


@both
async def test_a_max_concurrency_that_cannot_be_answers_nobody(counting, way):
    with pytest.raises(ConfigError, match="max_concurrency to be at least 1, found -1") as caught:
        await run(ChatDoctor(engine=counting), way, WORDS, {"max_concurrency": -1})
    assert isinstance(caught.value, ModelError)
    assert counting.calls == []


@both
async def test_chains_batch_too(counting, way):
    chain = ChatPromptTemplate.from_template("{q}!") | ChatDoctor(engine=counting) | StrOutputParser()
    assert await run(chain, way, [{"q": "a"}, {"q": "b"}]) == ["re: a!", "re: b!"]
    assert counting.batches == [2]


@both
async def test_settings_of_the_call_hold_for_all(counting, way):
    await run(ChatDoctor(engine=counting), way, WORDS[:3], temperature=0.3, stop=["x"])
    assert {(call.sampling.temperature, call.sampling.stop) for call in counting.calls} == {(0.3, ("x",))}


class Runs(BaseCallbackHandler):
    """Remembers what happened, and when the runs were open."""

    def __init__(self):
        self.events = []
        self.lock = threading.Lock()

    def note(self, event, run_id, **more):
        with self.lock:
            self.events.append((event, run_id, more))

    def on_chat_model_start(self, serialized, messages, *, run_id, tags=None, metadata=None, **_):
        self.note("start", run_id, words=messages[0][-1].content, tags=tags, metadata=metadata)

    def on_llm_end(self, response, *, run_id, **_):
        self.note("end", run_id, text=response.generations[0][0].text)

    def on_llm_error(self, error, *, run_id, **_):
        self.note("error", run_id, error=error)


@both
async def test_each_input_has_a_run_of_its_own(counting, way):
    handlers = [Runs() for _ in range(3)]
    ids = [uuid.uuid4() for _ in range(3)]
    configs = [
        {"callbacks": [handler], "tags": [f"t{at}"], "metadata": {"at": at}, "run_id": ids[at]}
        for at, handler in enumerate(handlers)
    ]
    replies = await run(ChatDoctor(engine=counting, tags=["all"]), way, WORDS[:3], configs)
    assert counting.batches == [3]
    for at, handler in enumerate(handlers):
        (start, started, what), (end, ended, result) = handler.events
        assert (start, end, started, ended) == ("start", "end", ids[at], ids[at])
        assert what["words"] == WORDS[at]
        assert set(what["tags"]) == {"all", f"t{at}"}
        assert what["metadata"]["at"] == at
        assert what["metadata"]["ls_model_name"] == "scripted"
        assert result["text"] == replies[at].content
        assert str(ids[at]) in replies[at].id


@both
async def test_runs_are_open_while_the_batch_is_computed(way):
    runs = Runs()
    open_then = []

    def answer(request):
        open_then.append([event for event, *_ in runs.events])
        return "ok"

    await run(ChatDoctor(engine=ScriptedEngine(answer)), way, WORDS[:2], {"callbacks": [runs]})
    assert open_then[0] == ["start", "start"]
    assert [event for event, *_ in runs.events] == ["start", "start", "end", "end"]


async def test_async_callbacks_run(counting):
    seen = []

    class Handler(AsyncCallbackHandler):
        async def on_llm_end(self, response, **_):
            await asyncio.sleep(0)
            seen.append(response.generations[0][0].text)

    await ChatDoctor(engine=counting).abatch(["a", "b"], {"callbacks": [Handler()]})
    assert sorted(seen) == ["re: a", "re: b"]


@both
async def test_errors_are_returned_when_asked_and_others_are_answered(llm, forwards, way):
    runs = Runs()
    inputs = ["Fever", [SystemMessage("Be brief.")], "How long? " * 300, "tea"]
    good = [llm.invoke("Fever").content, llm.invoke("tea").content]
    del forwards[:]
    replies = await run(llm, way, inputs, {"callbacks": [runs]}, return_exceptions=True)
    assert [replies[0].content, replies[3].content] == good
    assert isinstance(replies[1], DataFormatError)
    assert isinstance(replies[2], ContextLengthError)
    assert len(forwards) <= 13
    assert sorted(event for event, *_ in runs.events) == ["end"] * 2 + ["error"] * 2 + ["start"] * 4


@both
async def test_the_first_error_is_raised_otherwise(llm, way):
    with pytest.raises(ContextLengthError):
        await run(llm, way, ["Fever", "How long? " * 300, [SystemMessage("Be brief.")]])


@both
async def test_an_engine_that_fails_ends_every_run(way):
    class Broken(ScriptedEngine):
        def generate_batch(self, requests, **_):
            raise GenerationError("down")

    runs = Runs()
    llm = ChatDoctor(engine=Broken("x"))
    replies = await run(llm, way, WORDS[:3], {"callbacks": [runs]}, return_exceptions=True)
    assert all(isinstance(reply, GenerationError) for reply in replies)
    assert [event for event, *_ in runs.events] == ["start"] * 3 + ["error"] * 3
    with pytest.raises(GenerationError, match="down"):
        await run(llm, way, WORDS[:2])


@both
async def test_a_model_that_cannot_be_loaded(tmp_path, way):
    llm = ChatDoctor(model=str(tmp_path / "none"))
    replies = await run(llm, way, ["a", "b"], return_exceptions=True)
    assert [isinstance(reply, ModelNotFoundError) for reply in replies] == [True] * 2


@both
async def test_cached_answers_take_no_seat(counting, way):
    llm = ChatDoctor(engine=counting, cache=InMemoryCache())
    await run(llm, way, ["a", "b"])
    replies = await run(llm, way, ["a", "c", "b", "d"])
    assert [reply.content for reply in replies] == ["re: a", "re: c", "re: b", "re: d"]
    assert counting.batches == [2, 2]
    await run(llm, way, ["a", "b"])
    assert counting.batches == [2, 2]


@both
async def test_inputs_that_stream_do_not_hold_up_the_rest(script, way):
    llm = ChatDoctor(engine=script, streaming=True)
    replies = await run(llm, way, WORDS[:3])
    assert [reply.content for reply in replies] == ["Rest well and drink tea."] * 3


@both
async def test_another_model_called_by_a_callback_has_no_seat(counting, way):
    other = ChatDoctor(engine=ScriptedEngine("other"))
    said = []

    class Asking(BaseCallbackHandler):
        raise_error = True

        def on_chat_model_start(self, *_args, **_kwargs):
            said.append(other.invoke("aside").content)

    await run(ChatDoctor(engine=counting), way, ["a", "b"], {"callbacks": [Asking()]})
    assert said == ["other", "other"]
    assert counting.batches == [2]


@both
async def test_a_callback_that_raises_holds_nobody_up(counting, way):
    class Raising(BaseCallbackHandler):
        raise_error = True

        def on_chat_model_start(self, _serialized, messages, **_kwargs):
            if messages[0][-1].content == "b":
                raise RuntimeError("no")

    replies = await run(
        ChatDoctor(engine=counting), way, ["a", "b", "c"], {"callbacks": [Raising()]}, return_exceptions=True
    )
    assert [getattr(reply, "content", "failed") for reply in replies] == ["re: a", "failed", "re: c"]
    assert counting.batches == [2]


def test_ctrl_c_leaves_nobody_waiting():
    class Interrupted(ScriptedEngine):
        def generate_batch(self, requests, **_):
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        ChatDoctor(engine=Interrupted("x")).batch(WORDS)
    assert threading.active_count() == before


async def test_cancelling_a_batch_stops_the_generation(llm, forwards):
    task = asyncio.create_task(llm.abatch(WORDS, max_tokens=200))
    while len(forwards) < 2:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    count = len(forwards)
    await asyncio.sleep(0.05)
    assert len(forwards) <= count + 1 < 150

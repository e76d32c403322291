"""`KnowledgeDoctor` over LangChain's fakes and over our own model, on every path but streams."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda

from chatdoctor_hub.errors import (
    ConfigError,
    ContextLengthError,
    DataFormatError,
    GenerationError,
    PromptError,
    UnknownPromptError,
)
from chatdoctor_hub.inference import LocalEngine, ScriptedEngine
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.knowledge.wikipedia.source import Passage
from chatdoctor_hub.langchain import ChatDoctor, Consultation, KnowledgeDoctor
from chatdoctor_hub.langchain.knowledge import Failure, KnowledgePrompts

TABLE = DiseaseTable(
    (
        Disease("Migraine", ("throbbing headache", "sensitivity to light"), source="made.csv", line=2),
        Disease("Gout", ("swollen toe",), source="made.csv", line=3),
    )
)
HEAD = "My head throbs and light hurts my eyes."
PAGE = Passage("Migraine comes in attacks.", "Migraine", "Signs", "https://w.example/1", 11, score=2.0)


class Shelf:
    def __init__(self, *passages, error=None, delay=0.0):
        self.passages, self.error, self.delay, self.threads = passages, error, delay, set()

    def search(self, query, k):
        self.threads.add(threading.get_ident())
        time.sleep(self.delay)
        if self.error:
            raise self.error
        return self.passages


def model_saying(*replies):
    return GenericFakeChatModel(messages=iter([AIMessage(r) if isinstance(r, str) else r for r in replies]))


def scripted(*replies, table=TABLE, wikipedia=None, **settings):
    """A doctor over our own model, and the engine that remembers what it was asked."""
    engine = ScriptedEngine(list(replies))
    return KnowledgeDoctor(ChatDoctor(engine=engine), table, wikipedia, **settings), engine


# What comes back


def test_an_answer_with_what_it_rests_on():
    doctor = KnowledgeDoctor(
        model_saying('["headache", "photophobia"]', "It may be migraine [table:1]. Rest [table:9]."), TABLE
    )
    message = doctor.invoke(HEAD)
    assert type(message) is AIMessage
    assert message.content == "It may be migraine [table:1]. Rest."
    known = message.response_metadata["knowledge"]
    assert json.loads(json.dumps(known)) == known
    assert known["keywords"] == ["headache", "photophobia"]
    assert known["keywords_from"] == "model"
    assert known["citations"] == ["table:1"]
    assert known["invented_citations"] == 1
    assert known["nothing_found"] is False
    assert known["failures"] == []
    assert known["prompts"] == "knowledge-doctor@1"
    [passage] = known["passages"]
    assert (passage["id"], passage["source"], passage["citation"]) == (
        "table:1",
        "made.csv line 2",
        "[table:1]",
    )
    assert passage["score"] > 0


def test_the_typed_result():
    doctor, _ = scripted("headache", "Rest [table:1] [wiki:Migraine].", wikipedia=Shelf(PAGE))
    found = doctor.consult(HEAD)
    assert isinstance(found, Consultation)
    wiki = found.passages[1].id
    assert found.answer == f"Rest [table:1] [{wiki}]."
    assert found.citations == ("table:1", wiki)
    assert found.passages[1].url == PAGE.url
    assert found.passages[1].licence == "CC BY-SA 4.0"
    assert found.to_record()["passages"][1]["revision"] == 11
    with pytest.raises(AttributeError):
        found.answer = "other"


def test_metadata_and_usage_of_the_model_are_kept():
    doctor, engine = scripted("headache", "Rest.")
    message = doctor.invoke(HEAD)
    assert message.response_metadata["model_name"] == "scripted"
    assert message.response_metadata["finish_reason"] == "stop"
    words = [sum(len(m["content"].split()) for m in call.messages) for call in engine.calls]
    assert message.usage_metadata["input_tokens"] == sum(words)
    assert message.usage_metadata["output_tokens"] == 2


def test_the_whole_dialogue_counts():
    talk = [
        SystemMessage("Be brief."),
        HumanMessage("My head throbs."),
        AIMessage("Does light hurt?"),
        HumanMessage("Yes."),
    ]
    doctor, engine = scripted("headache", "Rest.")
    found = doctor.consult({"messages": talk})
    assert found.passages[0].id == "table:1", "the last message alone finds nothing"
    keywords, answer = (call.messages for call in engine.calls)
    assert "Patient: My head throbs." in keywords[1]["content"]
    assert "Doctor: Does light hurt?" in keywords[1]["content"]
    assert [m["role"] for m in answer] == ["system", "user", "assistant", "user"]
    assert answer[0]["content"].endswith("Be brief.")
    assert answer[1]["content"] == "My head throbs."
    assert answer[3]["content"].endswith("\nYes.")


def test_a_talk_in_which_the_doctor_spoke_last():
    doctor, engine = scripted("headache", "Rest.")
    doctor.invoke([HumanMessage(HEAD), AIMessage("I see.")])
    assert [m["role"] for m in engine.calls[1].messages] == ["system", "user", "assistant", "user"]


# Keywords


@pytest.mark.parametrize(
    ("reply", "failures"),
    [
        ("I cannot do that.", []),
        ("", []),
        (GenerationError("too busy with the patient's words"), [Failure("keywords", "GenerationError")]),
    ],
)
def test_the_patients_words_where_the_model_finds_no_keywords(reply, failures):
    doctor, _ = scripted(reply, "Rest [table:1].")
    found = doctor.consult(HEAD)
    assert found.keywords_from == "lexical"
    assert found.keywords[:2] == ("head", "throbs")
    assert list(found.failures) == failures
    assert found.citations == ("table:1",)


def test_keywords_cannot_push_out_the_patients_own_words():
    doctor, _ = scripted("swollen toe", "Rest.", k=1)
    assert [passage.id for passage in doctor.consult(HEAD).passages] == ["table:1"]


def test_without_asking_for_keywords():
    doctor, engine = scripted("Rest.", keywords="lexical")
    assert doctor.consult(HEAD).keywords_from == "lexical"
    assert len(engine.calls) == 1


# Sources


def test_nothing_found_is_said_and_nothing_can_be_cited():
    doctor, engine = scripted("qwertz", "Rest [table:1].")
    found = doctor.consult("asdf")
    assert found.nothing_found
    assert found.answer == f"{KnowledgePrompts.load().nothing_found}\n\nRest."
    assert (found.citations, found.invented_citations) == ((), 1)
    assert "nothing was found" in engine.calls[1].messages[0]["content"]
    assert engine.calls[1].messages[-1]["content"] == "asdf"


def test_sources_that_could_not_be_asked_are_not_called_empty():
    doctor, _ = scripted("qwertz", "Rest.", table=None, wikipedia=Shelf(error=TimeoutError()))
    found = doctor.consult("asdf")
    assert found.answer == f"{KnowledgePrompts.load().nothing_reached}\n\nRest."
    assert found.failures == (Failure("wikipedia", "TimeoutError"),)


def test_one_source_fails_and_the_other_answers():
    doctor, _ = scripted("headache", "Rest [table:1].", wikipedia=Shelf(error=ConnectionError("x")))
    message = doctor.invoke(HEAD)
    assert message.content == "Rest [table:1]."
    assert message.response_metadata["knowledge"]["failures"] == [
        {"part": "wikipedia", "error": "ConnectionError"}
    ]


def test_rows_tables_and_defaults():
    for table in (TABLE, list(TABLE), Shelf()):
        doctor, _ = scripted("headache", "Rest.", table=table)
        assert doctor.invoke(HEAD).content.endswith("Rest.")
    starter = KnowledgeDoctor(model_saying("x", "Rest.")).consult("I have a fever and a cough")
    assert starter.passages
    alone = KnowledgeDoctor(model_saying("x", "Rest."), wikipedia=Shelf(PAGE)).consult("fever")
    assert [passage.title for passage in alone.passages] == ["Migraine"]


# Reading


def test_long_passages_are_narrowed_to_fit():
    page = Passage(
        "Filler about nothing much. " * 400 + "Light hurts in migraine.", "M", "", "", 1, score=1.0
    )
    doctor, engine = scripted("light", "Rest.", wikipedia=Shelf(page), max_characters=400)
    found = doctor.consult(HEAD)
    assert sum(len(passage.text) for passage in found.passages) <= 400
    assert "Light hurts in migraine." in engine.calls[1].messages[-1]["content"]


def test_the_model_may_choose_what_is_read():
    page = Passage("One is odd. Two is even. Three is prime.", "N", "", "", 1, score=1.0)
    doctor, engine = scripted("light", "1", "2", "Rest.", wikipedia=Shelf(page), read="model")
    found = doctor.consult(HEAD)
    assert [passage.text for passage in found.passages] == [
        "Symptoms: throbbing headache; sensitivity to light.",
        "Two is even.",
    ]
    assert "2. Two is even." in engine.calls[2].messages[-1]["content"]
    assert HEAD in engine.calls[2].messages[-1]["content"]


def test_what_the_model_will_not_read_is_left_out_or_read_by_words():
    doctor, _ = scripted("light", "0", "Rest [table:1].", read="model")
    found = doctor.consult(HEAD)
    assert found.nothing_found
    assert found.invented_citations == 1
    for reply in ("who knows", GenerationError("busy")):
        doctor, _ = scripted("light", reply, "Rest [table:1].", read="model")
        assert doctor.consult(HEAD).citations == ("table:1",)


# Being a runnable


def test_it_composes():
    engine = ScriptedEngine(["headache", "Rest [table:1]."])
    chain = (
        ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{q}")])
        | KnowledgeDoctor(ChatDoctor(engine=engine), TABLE)
        | StrOutputParser()
    )
    assert chain.invoke({"q": HEAD}) == "Rest [table:1]."
    assert isinstance(chain.steps[1], Runnable)


def test_arguments_of_a_call_go_to_the_answer_only():
    doctor, engine = scripted("headache", "Rest well [table:1].")
    assert doctor.bind(max_tokens=1).invoke(HEAD).content == "Rest"
    assert [call.sampling.max_tokens for call in engine.calls] == [256, 1]


def test_it_works_over_bound_and_retrying_models():
    model = model_saying("headache", "Rest.").with_retry()
    assert KnowledgeDoctor(model, TABLE).invoke(HEAD).content == "Rest."
    assert KnowledgeDoctor(RunnableLambda(lambda _: "fever"), TABLE).invoke(HEAD).content == "fever"
    blocks = model_saying("headache", AIMessage([{"type": "text", "text": "Rest [table:1]."}]))
    assert KnowledgeDoctor(blocks, TABLE).invoke(HEAD).content == "Rest [table:1]."


def test_an_error_of_the_answer_reaches_the_caller():
    doctor, _ = scripted("headache", GenerationError("down"))
    with pytest.raises(GenerationError, match="down"):
        doctor.invoke(HEAD)


class Runs(BaseCallbackHandler):
    """Names of the runs, by kind, and how they hang together."""

    def __init__(self):
        self.started, self.ended, self.errors = [], [], []

    def on_chain_start(self, serialized, inputs, *, run_id, parent_run_id=None, tags=None, name=None, **_):
        self.started.append((name, run_id, parent_run_id, tags))

    def on_chat_model_start(
        self, serialized, messages, *, run_id, parent_run_id=None, tags=None, name=None, **_
    ):
        self.started.append((name, run_id, parent_run_id, tags))

    def on_chain_end(self, outputs, *, run_id, **_):
        self.ended.append(run_id)

    def on_chain_error(self, error, *, run_id, **_):
        self.errors.append(error)


@pytest.mark.parametrize("way", ["invoke", "stream", "consult", "batch"])
def test_callbacks_see_one_run_with_its_steps(way):
    runs = Runs()
    doctor, _ = scripted("headache", "Rest.")
    config = {"callbacks": [runs], "tags": ["mine"], "metadata": {"who": "me"}}
    if way == "batch":
        doctor.batch([HEAD], config)
    else:
        list(getattr(doctor, way)(HEAD, config)) if way == "stream" else getattr(doctor, way)(HEAD, config)
    assert [name for name, *_ in runs.started] == [
        "KnowledgeDoctor",
        "keywords",
        "knowledge_search",
        "answer",
    ]
    top = runs.started[0][1]
    assert [parent for _, _, parent, _ in runs.started] == [None, top, top, top]
    assert all("mine" in tags for *_, tags in runs.started)
    assert ["nostream" in tags for *_, tags in runs.started] == [False, True, False, True]
    assert runs.ended[-1] == top
    named = Runs()
    scripted("headache", "Rest.", name="desk")[0].invoke(HEAD, {"callbacks": [named]})
    assert named.started[0][0] == "desk"


# Many at once


def test_a_batch_computes_together_and_keeps_errors_apart(monkeypatch):
    engine = ScriptedEngine(
        lambda request: "headache" if "search terms" in str(request.messages[0]) else "Rest [table:1]."
    )
    sizes = []
    together = engine.generate_batch
    monkeypatch.setattr(
        engine,
        "generate_batch",
        lambda requests, **given: (sizes.append(len(requests)), together(requests, **given))[1],
    )
    doctor = KnowledgeDoctor(ChatDoctor(engine=engine), TABLE)
    answers = doctor.batch([HEAD, [], "throbbing", HEAD], return_exceptions=True)
    assert [getattr(answer, "content", None) for answer in answers] == [
        "Rest [table:1].",
        None,
        *["Rest [table:1]."] * 2,
    ]
    assert isinstance(answers[1], DataFormatError)
    assert sizes == [3, 3]
    with pytest.raises(DataFormatError):
        doctor.batch([HEAD, []])
    assert doctor.batch([]) == []


async def test_an_asynchronous_batch():
    engine = ScriptedEngine("Rest [table:1].")
    doctor = KnowledgeDoctor(ChatDoctor(engine=engine), TABLE, read="model")
    answers = await doctor.abatch([HEAD] * 3 + [[]], return_exceptions=True)
    assert [answer.content for answer in answers[:3]] == ["Rest [table:1]."] * 3
    assert isinstance(answers[3], DataFormatError)
    assert await doctor.abatch([]) == []


def test_threads_do_not_mix_up_their_answers():
    engine = ScriptedEngine(
        lambda r: "x" if "search terms" in str(r.messages[0]) else str(r.messages[-1]["content"])[-9:]
    )
    doctor = KnowledgeDoctor(ChatDoctor(engine=engine), TABLE)
    words = [f"toe {number:05}" for number in range(40)]
    each = RunnableLambda(doctor.invoke).batch(words, {"max_concurrency": 8})
    assert [message.content for message in each] == words
    assert [message.content for message in doctor.batch(words, {"max_concurrency": 4})] == words


async def test_a_slow_source_does_not_block_the_event_loop():
    shelf = Shelf(PAGE, delay=0.3)
    doctor, _ = scripted("headache", "Rest.", wikipedia=shelf)
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    clock = asyncio.create_task(tick())
    message = await doctor.ainvoke(HEAD)
    clock.cancel()
    assert message.content == "Rest."
    assert ticks > 10
    assert threading.get_ident() not in shelf.threads


async def test_asynchronous_twins_say_the_same():
    replies = ["headache", "Rest [table:1] [table:5]."]
    whole = scripted(*replies)[0].invoke(HEAD)
    again = await scripted(*replies)[0].ainvoke(HEAD)
    assert (again.content, again.response_metadata["knowledge"]) == (
        whole.content,
        whole.response_metadata["knowledge"],
    )
    assert (await scripted(*replies)[0].aconsult(HEAD)).to_record() == whole.response_metadata["knowledge"]


# What is refused


@pytest.mark.parametrize(
    "given", ["", [], [SystemMessage("Be brief.")], [HumanMessage([{"type": "image"}])], {"q": 1}]
)
async def test_what_is_no_conversation_is_refused_before_anything_is_asked(given):
    doctor, engine = scripted("headache", "Rest.")
    for call in (doctor.invoke, doctor.consult, lambda words: list(doctor.stream(words))):
        with pytest.raises(DataFormatError):
            call(given)
    with pytest.raises(DataFormatError):
        await doctor.ainvoke(given)
    with pytest.raises(DataFormatError):
        _ = [chunk async for chunk in doctor.astream(given)]
    assert engine.calls == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"k": 0}, "k must be"),
        ({"k": True}, "k must be"),
        ({"read": "aloud"}, "read must be"),
        ({"keywords": None}, "keywords must be"),
        ({"max_characters": 10, "max_keywords": 0}, "max_keywords must be .* max_characters must be"),
        ({"table": 7}, "found int"),
        ({"wikipedia": "en"}, "found str"),
    ],
)
def test_settings_that_cannot_work(settings, says):
    with pytest.raises(ConfigError, match=says):
        KnowledgeDoctor(FakeListChatModel(responses=["x"]), **settings)


def test_a_table_without_rows():
    with pytest.raises(DataFormatError, match="at least one disease"):
        KnowledgeDoctor(FakeListChatModel(responses=["x"]), [])


def test_no_tools():
    model = FakeListChatModel(responses=["x"])
    with pytest.raises(ConfigError, match="without tools"):
        KnowledgeDoctor(model.bind(tools=[{"name": "f"}]).with_config(tags=["x"]), TABLE)
    with pytest.raises(ConfigError, match="without tools"):
        KnowledgeDoctor(model, TABLE).invoke(HEAD, tools=[{"name": "f"}])
    with pytest.raises(ConfigError, match="found str"):
        KnowledgeDoctor("gpt", TABLE)


# Prompts


def test_the_prompts_are_named_and_digested():
    prompts = KnowledgePrompts.load()
    assert prompts.id == "knowledge-doctor@1"
    assert len(prompts.sha256) == 64
    assert prompts.sha256 != KnowledgePrompts(**{**prompts.__dict__, "go_on": "Go on."}).sha256
    with pytest.raises(UnknownPromptError, match="knowledge-doctor@1"):
        KnowledgePrompts.load("other")
    with pytest.raises(PromptError, match=r"\$words"):
        KnowledgePrompts(**{**prompts.__dict__, "answer_request": "$notes"})


def test_what_is_filled_in_is_not_read_as_a_template():
    doctor, engine = scripted("headache", "Rest.")
    words = f"{HEAD} $notes $number ${{words}} $$ {{notes}} %s"
    doctor.invoke(words)
    assert engine.calls[1].messages[-1]["content"].endswith(words)


# A context that is too short


def short_sighted(limit):
    """An engine that takes so many characters."""

    def reply(request):
        size = sum(len(message["content"]) for message in request.messages)
        if "search terms" in request.messages[0]["content"]:
            return "headache"
        return "Rest [table:1]." if size < limit else ContextLengthError(f"Expected {limit}, found {size}.")

    return ScriptedEngine(reply)


@pytest.mark.parametrize("way", ["invoke", "stream", "batch", "ainvoke", "astream"])
async def test_a_short_context_is_given_less_to_read(way):
    page = Passage(
        "Light hurts in migraine. " + "Filler about nothing much. " * 300, "M", "", "", 1, score=1.0
    )
    engine = short_sighted(3_500)
    doctor = KnowledgeDoctor(ChatDoctor(engine=engine), TABLE, Shelf(page), max_characters=8_000)
    if way == "stream":
        content = "".join(chunk.content for chunk in doctor.stream(HEAD))
    elif way == "astream":
        content = "".join([chunk.content async for chunk in doctor.astream(HEAD)])
    elif way == "batch":
        content = {message.content for message in doctor.batch([HEAD, HEAD])}.pop()
    else:
        found = getattr(doctor, way)(HEAD)
        content = (await found if way == "ainvoke" else found).content
    assert content == "Rest [table:1]."
    assert "Light hurts in migraine." in engine.calls[-1].messages[-1]["content"]
    assert "throbbing headache" in engine.calls[-1].messages[-1]["content"]


async def test_a_context_that_is_too_short_for_anything():
    doctor = KnowledgeDoctor(ChatDoctor(engine=short_sighted(10)), TABLE)
    for call in (doctor.invoke, lambda words: list(doctor.stream(words))):
        with pytest.raises(ContextLengthError):
            call(HEAD)
    with pytest.raises(ContextLengthError):
        _ = [chunk async for chunk in doctor.astream(HEAD)]


def test_its_schemas_and_graph_can_be_drawn():
    doctor = KnowledgeDoctor(model_saying("x"), TABLE)
    assert doctor.get_output_jsonschema()["title"]
    assert doctor.get_input_jsonschema()
    assert "KnowledgeDoctor" in str(doctor.get_graph().nodes)
    assert "KnowledgeDoctor" in repr(doctor)


# A real model, if a tiny one


async def test_over_a_real_model_on_every_path(tokenizer):
    import tiny_causal_model

    model = tiny_causal_model.make_model(len(tokenizer), context=2_048)
    llm = ChatDoctor(engine=LocalEngine.of(model, tokenizer, name="tiny"), max_tokens=3)
    doctor = KnowledgeDoctor(llm, TABLE)
    messages = [doctor.invoke(HEAD), *doctor.batch([HEAD, HEAD]), await doctor.ainvoke(HEAD)]
    whole = None
    for chunk in doctor.stream(HEAD):
        whole = chunk if whole is None else whole + chunk
    for message in [*messages, whole]:
        assert isinstance(message.content, str)
        assert message.response_metadata["knowledge"]["passages"][0]["id"] == "table:1"
        assert message.response_metadata["model_name"] == "tiny"
        assert message.usage_metadata["total_tokens"] > 0

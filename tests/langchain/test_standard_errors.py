"""What is raised is ours and LangChain's at once, on every path."""

from __future__ import annotations

import pickle

import pytest
from langchain_core import exceptions as standard
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage

from chatdoctor_hub import errors
from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.langchain.errors import in_both_families

KINDS = [
    (errors.ContextLengthError("long"), standard.ContextOverflowError, False),
    (errors.EndpointBusyError("busy", status=429, retry_after=2.0), standard.ModelRateLimitError, True),
    (errors.EndpointAccessError("no", status=401), standard.ModelAuthenticationError, False),
    (errors.EndpointAccessError("no", status=403), standard.ModelPermissionDeniedError, False),
    (errors.EndpointRequestError("bad", status=422), standard.ModelInvalidRequestError, False),
    (errors.EndpointNotFoundError("none", status=404), standard.ModelNotFoundError, False),
    (errors.EndpointConnectionError("gone", text_so_far="Res"), standard.ModelConnectionError, True),
    (errors.EndpointTimeoutError("slow"), standard.ModelTimeoutError, True),
    (errors.EndpointServerError("broken", status=500), standard.ModelAPIError, True),
    (errors.GenerationError("down"), standard.ModelError, False),
    (errors.ConfigError("wrong"), standard.ModelInvalidRequestError, False),
    (errors.DataFormatError("wrong"), standard.ModelInvalidRequestError, False),
    (errors.ModelNotFoundError("none"), standard.ModelNotFoundError, False),
    (errors.ModelFormatError("odd"), standard.ModelError, False),
    (errors.MissingExtraError("torch", "local"), standard.ModelError, False),
    (errors.HubUnreachableError("down"), standard.ModelConnectionError, True),
    (errors.ReleaseFormatError("gap"), standard.ModelError, False),
]
EACH = pytest.mark.parametrize(("error", "kind", "again"), KINDS, ids=lambda value: type(value).__name__)


@EACH
def test_both_families(error, kind, again):
    with pytest.raises(standard.ModelError) as caught, in_both_families():
        raise error
    told = caught.value
    assert isinstance(told, type(error))
    assert isinstance(told, kind)
    assert (type(told).__name__, str(told), told.is_retryable) == (type(error).__name__, str(error), again)
    assert told.__dict__ == error.__dict__
    assert told.__cause__ is None
    for builtin in (OSError, ValueError, RuntimeError, LookupError, ImportError):
        assert isinstance(told, builtin) == isinstance(error, builtin)
    back = pickle.loads(pickle.dumps(told))
    assert (type(back), str(back), back.__dict__) == (type(told), str(told), told.__dict__)


@EACH
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch", "events"])
async def test_every_path(error, kind, again, way):
    llm = ChatDoctor(engine=ScriptedEngine(lambda _: error))
    with pytest.raises(kind) as caught:
        await ask(llm, way)
    assert isinstance(caught.value, type(error))


async def ask(llm, way):
    if way in ("ainvoke", "abatch"):
        await getattr(llm, way)("Hi" if way == "ainvoke" else ["Hi", "Ho"])
    elif way in ("invoke", "batch"):
        getattr(llm, way)("Hi" if way == "invoke" else ["Hi", "Ho"])
    elif way == "stream":
        list(llm.stream("Hi"))
    elif way == "astream":
        [chunk async for chunk in llm.astream("Hi")]
    else:
        [event async for event in llm.astream_events("Hi", version="v2")]


def test_where_it_came_from_is_kept():
    first = OSError("the line broke")

    def fail(_):
        raise errors.EndpointConnectionError("gone") from first

    with pytest.raises(standard.ModelConnectionError) as caught:
        ChatDoctor(engine=ScriptedEngine(fail)).invoke("Hi")
    assert caught.value.__cause__ is first
    assert caught.traceback[-1].name == "fail"


def test_errors_of_others_pass():
    class OtherError(Exception):
        pass

    with pytest.raises(OtherError):
        ChatDoctor(engine=ScriptedEngine(lambda _: OtherError())).invoke("Hi")


def test_a_prompt_that_does_not_fit():
    engine = ScriptedEngine("Rest.", context_length=60)
    with pytest.raises(standard.ContextOverflowError, match="less than 60 tokens"):
        ChatDoctor(engine=engine).invoke("word " * 80)
    talk = [("human", "word " * 80), ("ai", "Yes."), ("human", "What now?")]
    with pytest.raises(errors.ContextLengthError):
        ChatDoctor(engine=ScriptedEngine("Rest.", context_length=120)).invoke(talk)
    shortened = ScriptedEngine("Rest.", context_length=120)
    assert ChatDoctor(engine=shortened, overflow="drop_oldest").invoke(talk).content == "Rest."
    assert [message["role"] for message in shortened.calls[0].messages] == ["system", "user"]


def test_bad_arguments_and_tokens_too():
    llm = ChatDoctor(engine=ScriptedEngine("x"))
    for call in (
        lambda: llm.invoke([]),
        lambda: llm.invoke("Hi", temprature=1),
        lambda: llm.bind_tools([3]),
        lambda: llm.with_structured_output(3),
        lambda: llm.get_num_tokens_from_messages([HumanMessage([{"type": "image"}])]),
        lambda: llm.get_token_ids("Hi"),
    ):
        with pytest.raises(standard.ModelInvalidRequestError) as caught:
            call()
        assert isinstance(caught.value, errors.ChatDoctorError)


def test_what_is_found_out_while_the_cache_is_asked():
    llm = ChatDoctor(engine=ScriptedEngine("x"), cache=InMemoryCache())
    for given in ({"temprature": 1}, {"tools": [3]}, {"temperature": -1}):
        with pytest.raises(standard.ModelInvalidRequestError) as caught:
            llm.invoke("Hi", **given)
        assert isinstance(caught.value, errors.ConfigError)

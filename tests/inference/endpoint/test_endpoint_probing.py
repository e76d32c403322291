"""Telling servers apart."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from chatdoctor_hub.errors import EndpointAccessError, EndpointNotFoundError
from chatdoctor_hub.inference import ChatRequest, Sampling
from chatdoctor_hub.inference.endpoint.calls import Answer, Call, run
from chatdoctor_hub.inference.endpoint.dialects import DIALECTS
from chatdoctor_hub.inference.endpoint.probing import probe

MODELS = {"object": "list"}
ANSWERS: dict[str, dict[str, Any]] = {
    "tgi": {"/info": {"model_id": "org/x", "max_total_tokens": 4096, "version": "3.3.6"}},
    "vllm": {"/v1/models": {**MODELS, "data": [{"id": "org/x", "owned_by": "vllm", "max_model_len": 4096}]}},
    "llama_cpp": {
        "/v1/models": {
            **MODELS,
            "data": [{"id": "org/x", "owned_by": "llamacpp", "meta": {"n_ctx_train": 4096}}],
        }
    },
    "llama_cpp by its properties": {
        "/v1/models": {**MODELS, "data": [{"id": "org/x"}]},
        "/props": {"default_generation_settings": {}},
    },
    "llama_cpp_python": {"/v1/models": {**MODELS, "data": [{"id": "org/x", "owned_by": "me"}]}},
    "transformers": {
        "/v1/models": {**MODELS, "data": [{"id": "org/x", "owned_by": "org"}]},
        "/load_model": 405,
    },
    "openai": {"/v1/models": {**MODELS, "data": [{"id": "org/x", "owned_by": "system"}]}},
    "openai without a list": {},
}


def found_at(answers: dict[str, Any], dialect: str | None = None, model: str | None = None):
    asked: list[str] = []

    def ask(call: Call) -> Answer:
        asked.append(call.path)
        body = answers.get(call.path, 404)
        return Answer(body, {"detail": "no"}) if isinstance(body, int) else Answer(200, body)

    return run(probe("http://x", DIALECTS[dialect] if dialect else None, model), ask), asked


@pytest.mark.parametrize("name", ANSWERS)
def test_each_kind_is_told(name: str) -> None:
    found, asked = found_at(ANSWERS[name])
    kind = name.split()[0].rstrip(",")
    assert found.dialect.name == kind
    assert len(asked) <= 4
    if kind in ("tgi", "vllm"):
        assert found.context_length == 4096
    expected = {"tgi": "tgi", "llama_cpp": "default", "llama_cpp_python": "default"}.get(
        kind, "org/x" if ANSWERS[name] else ""
    )
    assert found.model == expected
    assert found_at(ANSWERS[name], model="mine")[0].model == "mine"


def test_what_the_caller_says_counts() -> None:
    found, asked = found_at(ANSWERS["openai"], dialect="vllm")
    assert found.dialect.name == "vllm"
    assert asked == ["/v1/models"]


@pytest.mark.parametrize("status", [401, 403])
def test_closed_doors(status: int) -> None:
    with pytest.raises(EndpointAccessError) as caught:
        found_at({"/info": status})
    assert caught.value.status == status


def test_pages_and_redirects() -> None:
    for answer in (Answer(200, None, is_page=True), Answer(302, None)):
        with pytest.raises(EndpointNotFoundError):
            run(probe("http://x", None, None), lambda call, answer=answer: answer)
    # A 404 in HTML is how many servers say that they have no such path.
    assert (
        run(probe("http://x", None, None), lambda call: Answer(404, None, is_page=True)).dialect.name
        == "openai"
    )


# Over the wire, with servers of few words


@contextlib.contextmanager
def serving(routes: dict[tuple[str, str], Any]) -> Iterator[tuple[str, list[Any]]]:
    """A server that answers (method, path) with a value, and what it was asked."""
    asked: list[Any] = []

    def route(method: str, path: str, answer: Any) -> Route:
        async def handler(request):
            asked.append((path, await request.json() if method == "POST" else None))
            return JSONResponse(answer)

        return Route(path, handler, methods=[method])

    app = Starlette(routes=[route(method, path, answer) for (method, path), answer in routes.items()])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", asked
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


CHAT = {
    "model": "org/x",
    "choices": [{"message": {"content": "Rest."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 42, "completion_tokens": 2},
}
USER = {"role": "user", "content": "Hello"}


@pytest.mark.parametrize(
    ("routes", "tokens"),
    [
        ({("GET", "/v1/models"): ANSWERS["vllm"]["/v1/models"], ("POST", "/tokenize"): {"count": 7}}, 7),
        ({("GET", "/v1/models"): ANSWERS["vllm"]["/v1/models"]}, 42),
        (
            {
                ("GET", "/v1/models"): ANSWERS["llama_cpp"]["/v1/models"],
                ("POST", "/apply-template"): {"prompt": "x"},
                ("POST", "/tokenize"): {"tokens": [1, 2, 3]},
            },
            3,
        ),
        ({("GET", "/v1/models"): ANSWERS["llama_cpp"]["/v1/models"]}, 42),
        ({("GET", "/v1/models"): ANSWERS["openai"]["/v1/models"]}, 42),
        ({("GET", "/v1/models"): ANSWERS["transformers"]["/v1/models"], ("POST", "/load_model"): {}}, 42),
    ],
)
def test_counting_and_answering(connect, routes: dict, tokens: int) -> None:
    with serving({**routes, ("POST", "/v1/chat/completions"): CHAT}) as (url, asked):
        engine = connect(url)
        assert engine.generate(ChatRequest((USER,), Sampling(seed=1))).text == "Rest."
        assert asked[-1][1]["messages"][-1] == USER
        assert engine.count_tokens([USER]) == tokens
        assert asked[-1][0] != "/v1/chat/completions" or asked[-1][1]["max_tokens"] == 1


def test_a_server_of_something_else(connect) -> None:
    async def hello(request):
        return PlainTextResponse("hello")

    with (
        serving({("GET", "/"): {}}) as (url, _),
        pytest.raises(EndpointNotFoundError, match="check base_url"),
    ):
        connect(url).generate(ChatRequest((USER,)))


def test_a_closed_door_or_a_page_at_one_route_does_not_close_the_others() -> None:
    for status in (401, 403, 500):
        assert found_at({**ANSWERS["vllm"], "/info": status})[0].dialect.name == "vllm"

    def spa(call: Call) -> Answer:
        return (
            Answer(200, None, is_page=True)
            if call.path == "/info"
            else Answer(200, ANSWERS["vllm"]["/v1/models"])
        )

    assert run(probe("http://x", None, None), spa).dialect.name == "vllm"


def test_a_token_that_may_chat_but_not_list_will_do_where_all_is_known() -> None:
    info = run(probe("http://x", DIALECTS["openai"], "gpt"), lambda call: Answer(403, {"error": "no"}))
    assert info.model == "gpt"
    with pytest.raises(EndpointAccessError):
        run(probe("http://x", DIALECTS["openai"], None), lambda call: Answer(403, {"error": "no"}))

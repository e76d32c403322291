"""The safety prompt goes out with every request, and stands in the prompt once, whatever the server's template does."""

from __future__ import annotations

import pytest

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference import ChatRequest, Sampling, ScriptedEngine
from chatdoctor_hub.prompts import PromptPair

PAIR = PromptPair.load("chatdoctor@1")
USER = {"role": "user", "content": "My knee hurts."}
SYSTEM = {"role": "system", "content": "Answer in French."}
CONVERSATIONS = [
    (USER,),
    (SYSTEM, USER),
    (SYSTEM, SYSTEM, USER, {"role": "assistant", "content": "Rest."}, USER),
    ({"role": "system", "content": PAIR.safety}, USER),
    ({"role": "system", "content": PAIR.serving_text + "\n\nBe brief."}, USER),
]


def prompt_that_reaches_the_model(server, messages) -> str:
    """What the server's template makes of what was sent, the last time."""
    return server.prompt_of(server.chats[-1]["messages"])


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("baked", [False, True])
async def test_once_in_every_prompt(serve, connect, messages, baked: bool) -> None:
    server = serve(baked=PAIR if baked else None)
    engine = connect(server.url)
    asked = ChatRequest(messages)
    prompts = []
    engine.generate(asked)
    prompts.append(prompt_that_reaches_the_model(server, messages))
    list(engine.stream(asked))
    prompts.append(prompt_that_reaches_the_model(server, messages))
    await engine.agenerate(asked)
    prompts.append(prompt_that_reaches_the_model(server, messages))
    async for _ in engine.astream(asked):
        pass
    prompts.append(prompt_that_reaches_the_model(server, messages))
    await engine.agenerate_batch([asked])
    prompts.append(prompt_that_reaches_the_model(server, messages))
    for prompt in prompts:
        assert prompt.count(PAIR.safety) == 1
        assert prompt.count(PAIR.instruction) == 1
        assert prompt.count("Answer in French.") == sum(message is SYSTEM for message in messages)
        assert prompt.index(PAIR.safety) < prompt.index("My knee hurts.")


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_a_baked_template_makes_the_same_prompt_as_the_plain_one(messages) -> None:
    """By the template code itself, of a release and of its base."""
    from jinja2 import Environment

    sent = PAIR.render_serving(messages)
    made = [
        Environment()
        .from_string(template)
        .render(messages=sent, add_generation_prompt=True, bos_token="", eos_token="")
        for template in (PAIR.serving_template(), PAIR.layout)
    ]
    assert made[0] == made[1]


def test_tgis_own_route_has_it_too(serve, connect) -> None:
    scripted = ScriptedEngine("Rest.")
    server = serve(scripted, baked=PAIR)
    connect(server.url).generate(ChatRequest((USER,), Sampling(temperature=1, top_k=3)))
    (inputs,) = [body["inputs"] for path, body in server.requests if path == "/generate"]
    assert inputs.count(PAIR.safety) == 1


def test_another_pair(serve, connect) -> None:
    pair = PromptPair.load("math@1")
    server = serve()
    connect(server.url, prompt=pair).generate(ChatRequest((USER,)))
    assert server.chats[0]["messages"] == pair.render_serving([USER])


def test_the_training_form_is_without(serve, connect) -> None:
    server = serve()
    connect(server.url).generate(ChatRequest((USER,), form="training"))
    assert PAIR.safety not in str(server.chats[0])


@pytest.mark.parametrize("stream", [False, True])
def test_the_training_form_is_not_measured_where_the_server_adds_the_prompt(
    serve, connect, stream: bool
) -> None:
    server = serve(baked=PAIR)
    engine = connect(server.url)
    asked = ChatRequest((USER,), form="training")
    for _ in range(2):
        with pytest.raises(ConfigError, match="chat template has that of chatdoctor@1"):
            list(engine.stream(asked)) if stream else engine.generate(asked)
    assert server.chats == []
    assert sum(path == "/chat_tokenize" for path, _ in server.requests) == 1

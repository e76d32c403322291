"""How long parts of conversations are, which LangChain asks when it shortens them."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, trim_messages

from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor

TALK = [
    SystemMessage("Answer briefly."),
    *(
        message
        for number in range(6)
        for message in (HumanMessage(f"Question {number} about the flu"), AIMessage(f"Answer {number}."))
    ),
    HumanMessage("And now?"),
]
CALLED = [
    HumanMessage("What helps against gout?"),
    AIMessage("", tool_calls=[{"name": "look_up", "args": {"name": "gout"}, "id": "1"}]),
    ToolMessage("Rest, cooling, a doctor.", tool_call_id="1"),
    AIMessage("Rest."),
    HumanMessage("Thanks"),
]


@pytest.fixture(params=["local", "scripted"])
def either(request, llm):
    return llm if request.param == "local" else ChatDoctor(engine=ScriptedEngine("Rest."))


@pytest.mark.parametrize("include_system", [True, False])
@pytest.mark.parametrize("partly", [True, False])
def test_a_conversation_is_shortened_from_its_beginning(either, include_system, partly):
    whole = either.get_num_tokens_from_messages(TALK)
    assert len(trim_messages(TALK, max_tokens=4 * whole, token_counter=either, strategy="last")) == len(TALK)
    prompt = either.get_num_tokens_from_messages([])
    # The prompt counts with each part, so twice where the system message is counted apart.
    found = trim_messages(
        TALK,
        max_tokens=whole + (prompt if include_system else 0) - 8,
        token_counter=either,
        strategy="last",
        include_system=include_system,
        allow_partial=partly,
    )
    assert 3 < len(found) < len(TALK) + partly
    assert found[-1] == TALK[-1]
    assert (found[0] == TALK[0]) == include_system


def test_and_from_its_end(either):
    whole = either.get_num_tokens_from_messages(TALK)
    found = trim_messages(TALK, max_tokens=whole - 4, token_counter=either, strategy="first")
    assert found == TALK[: len(found)]
    assert 3 < len(found) < len(TALK)
    assert trim_messages(TALK, max_tokens=1, token_counter=either, strategy="first") == []


def test_a_result_without_its_call_is_counted_as_well(either):
    whole = either.get_num_tokens_from_messages(CALLED)
    found = trim_messages(
        CALLED, max_tokens=whole - 1, token_counter=either, strategy="last", start_on="human"
    )
    assert found == CALLED[-1:]
    counts = [either.get_num_tokens_from_messages(CALLED[start:]) for start in range(len(CALLED) + 1)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == whole > counts[3] > counts[5] > 0

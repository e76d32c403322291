"""The counts of tokens are the same by whichever way an answer is asked for."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import HumanMessage
from suite_answers import ADAPTER

from chatdoctor_hub.langchain import ChatDoctor
from tgi_stand_in import TgiStandIn


def look_up(location: str) -> str:
    """Get the weather at a location."""
    return location


@pytest.fixture(params=["local", "tgi"])
def llm(request, engine):
    if request.param == "local":
        yield ChatDoctor(engine=engine)
        return
    with TgiStandIn(engine, adapters=(ADAPTER,)) as tgi:
        yield ChatDoctor(base_url=tgi.url)


@pytest.mark.parametrize("kind", ["plain", "adapter", "tools"])
async def test_each_way_counts_alike(llm, kind):
    asked: Any = {
        "plain": llm,
        "adapter": llm.bind(model=ADAPTER),
        "tools": llm.bind_tools([look_up], tool_choice="any"),
    }[kind]
    whole = asked.invoke("Hello").usage_metadata
    assert whole["total_tokens"] == whole["input_tokens"] + whole["output_tokens"]
    assert min(whole["input_tokens"], whole["output_tokens"]) > 0
    pieces = [piece async for piece in asked.astream("Hello")]
    assert sum(piece.usage_metadata is not None for piece in pieces) == 1
    found = [
        (await asked.ainvoke("Hello")).usage_metadata,
        reduce(operator.add, asked.stream("Hello")).usage_metadata,
        reduce(operator.add, pieces).usage_metadata,
        *(message.usage_metadata for message in asked.batch(["Hello", "Hello"])),
        *(message.usage_metadata for message in await asked.abatch(["Hello", "Hello"])),
    ]
    assert found == [whole] * 7


def test_usage_is_gathered_by_the_model_that_answered(llm):
    gathered = UsageMetadataCallbackHandler()
    base = llm.invoke("Hello", config={"callbacks": [gathered]})
    brief = llm.invoke("Hello", model=ADAPTER, config={"callbacks": [gathered]})
    assert brief.text == "Hello." != base.text
    assert gathered.usage_metadata == {
        base.response_metadata["model_name"]: base.usage_metadata,
        ADAPTER: brief.usage_metadata,
    }


def test_the_prompt_is_counted_as_it_is_read(engine):
    llm = ChatDoctor(engine=engine)
    said = llm.bind_tools([look_up]).invoke("Hello", max_tokens=4)
    counted = llm.get_num_tokens_from_messages([HumanMessage("Hello")], tools=[look_up])
    assert counted == said.usage_metadata["input_tokens"]

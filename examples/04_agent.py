"""ChatDoctor in an agent: tools, then an answer of a given form.

    pip install "chatdoctor-hub[agents]"
    python examples/04_agent.py

The model is scripted, so that this runs anywhere at once; put ChatDoctor(model="…") or ChatDoctor(base_url="…") in
its place.
"""

from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from pydantic import BaseModel

from chatdoctor_hub import ChatDoctor
from chatdoctor_hub.inference import ScriptedEngine, ToolCall
from chatdoctor_hub.langchain import disease_lookup


class Advice(BaseModel):
    """What to tell the patient."""

    urgent: bool
    words: str


def main() -> None:
    engine = ScriptedEngine(
        [
            ToolCall(disease_lookup.name, {"query": "one-sided headache, light hurts"}, "call-1"),
            # The form of the answer is one more tool, so that the model may look things up first.
            ToolCall(
                "Advice", {"urgent": False, "words": "This may be a migraine: rest in a dark room."}, "call-2"
            ),
        ]
    )
    agent = create_agent(
        ChatDoctor(engine=engine), [disease_lookup], response_format=ProviderStrategy(Advice)
    )
    state = agent.invoke({"messages": [("human", "My head throbs on one side, and light hurts my eyes.")]})

    for message in state["messages"]:
        print(f"{message.type}: {message.text[:100] or message.tool_calls}")
    print(state["structured_response"])
    print("What the model saw first:", engine.calls[0].messages[0]["content"][:60], "…")


if __name__ == "__main__":
    main()

"""What a good model answers to the requests of LangChain's suite; the tiny model learns these by heart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chatdoctor_hub.inference import ChatRequest, ToolCall

ADAPTER = "brief"
"""The name of the adapter that answers greetings in a word."""

_JOKE = {"setup": "Why did the cat sit on the computer?", "punchline": "To watch the mouse!"}
_SETUP = {"setup": _JOKE["setup"]}
_TEXTS = {
    "hello": "Hello, how are you today?",
    "hey": "Hey, what can I do for you?",
    "hi": "Hi, how can I help you today?",
    "how are you": "I am well, thank you. How are you?",
    "Write me 2 haikus. Only include the haikus.": (
        "Rain on the window\nA cup of tea growing cold\nThe fever is gone\n\n"
        "Snow on the old roof\nA cat asleep by the fire\nThe long night passes"
    ),
    "Write a story about a cat.": "Once there was a cat. It slept all day, woke up at night, and was happy.",
    "Tell me a joke about cats.": json.dumps(_JOKE),
    "Give me the setup to a joke about cats, no punchline.": json.dumps(_SETUP),
    "Give me a joke about cats, include the punchline.": json.dumps(_JOKE),
    "Tell me a joke about cats. Return the result as a JSON with 'setup' and 'punchline' keys. "
    "Return nothing other than JSON.": json.dumps(_JOKE),
}
_BRIEF = "Hello."
_ARGUMENTS: dict[str, Mapping[str, Any]] = {
    "What is the value of magic_function(3)? Use the tool.": {"input": 3},
    "What is the value of magic_function_no_args()? Use the tool.": {},
    "Using the tool, generate a Pirate greeting.": {"answer_style": "Pirate"},
    "Hello!": {"input": 7},
    "What is 3 + 4": {"a": 3, "b": 4},
    "What is the weather in San Francisco, CA?": {"location": "San Francisco, CA"},
    "Create a customer named '你好啊集团' (Hello Group) - a Chinese technology company": {
        "customer_name": "你好啊集团",
        "description": "a Chinese technology company",
    },
    "Create a customer named 'こんにちは株式会社' (Hello Corporation) - a Japanese company": {
        "customer_name": "こんにちは株式会社",
        "description": "a Japanese company",
    },
    "Tell me a joke about cats.": _JOKE,
    "Give me the setup to a joke about cats, no punchline.": _SETUP,
    "Give me a joke about cats, include the punchline.": _JOKE,
}
_RESULTS = {
    '{"result": 3}': "1 + 2 is 3.",
    "Error: Missing required argument 'b'.": "I need the second number to add them.",
    "It's sunny.": "It is sunny in San Francisco.",
}


def answer(request: ChatRequest) -> str | ToolCall:
    """The text or the call that answers a request of the suite.

    Raises:
        KeyError: for a request that the suite did not make when this was written.
    """
    last = request.messages[-1]
    words = str(last["content"])
    if last["role"] == "tool":
        return _RESULTS[words]
    if request.tools and request.tool_choice != "none":
        return ToolCall(request.tool_names[0], dict(_ARGUMENTS[words]), f"call-{len(request.messages)}")
    if request.adapter == ADAPTER:
        return _BRIEF
    return _TEXTS[words] if words in _TEXTS else _TEXTS[words.lower()]

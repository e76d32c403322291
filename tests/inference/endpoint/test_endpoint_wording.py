"""What servers say: that a conversation is too long, in the words of each, and what of it is repeated."""

from __future__ import annotations

import json

import pytest

from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.inference.endpoint.faults import fault_of, told

TOO_LONG = {
    "OpenAI": (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 10010 tokens.",
        8192, 10010),
    "OpenAI, with room for the answer": (
        "This model's maximum context length is 4097 tokens. However, you requested 5000 tokens (4000 in the messages, "
        "1000 in the completion).", 4097, 4000),
    "vLLM, too large": (
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens "
        "and your request has 32 input tokens (5000 > 4096 - 32).", 4096, 32),
    "vLLM, the prompt alone": (
        "The decoder prompt (length 5010) is longer than the maximum model length of 4096.", 4096, 5010),
    "vLLM, by what was passed": (
        "You passed 4097 input tokens and requested 256 output tokens. However, the model's context length is only 4096 "
        "tokens, resulting in a maximum input length of 3840 tokens.", 4096, 4097),
    "vLLM, the request": (
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens.", 4096, 5000),
    "SGLang": ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
    "SGLang, with room for the answer": (
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5256 "
        "tokens: 5000 tokens from the input messages and 256 tokens for the completion.", 4096, 5000),
    "Mistral": (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        32768, 40000),
    "llama.cpp": ("request (5000 tokens) exceeds the available context size (4096 tokens)", 4096, 5000),
}  # fmt: skip


@pytest.mark.parametrize("server", TOO_LONG)
def test_too_long(server: str) -> None:
    said, limit, found = TOO_LONG[server]
    error = fault_of(400, json.dumps({"error": {"message": said}}).encode(), "http://x")
    assert type(error) is ContextLengthError
    assert f"the {limit} tokens of the context" in str(error)
    assert f"one of {found} tokens" in str(error)


@pytest.mark.parametrize(
    ("said", "theirs"),
    [
        (r"input_value={'content': 'I have\nfever'}", "fever"),  # as Python and JSON write a line break
        (r"bad content: \"fi\u00e8vre\"", "vre"),  # as JSON writes other letters
        ("input_value='since drop...ulon'", "drop"),  # cut in the middle
        ("input_value='since drop...ulon'", "ulon"),
    ],
)
def test_what_was_said_is_not_repeated_however_it_is_written(said: str, theirs: str) -> None:
    repeated = told(said, ["I have\nfever and fièvre since dropsy; my name is Zebulon"])
    assert repeated
    assert theirs not in repeated


def test_what_servers_say_of_requests_is_repeated() -> None:
    said = "`temperature` must be strictly positive, given: -1"
    assert (
        told(said, ["I must take my temperament's temperature"]) == "`…` must be strictly positive, given: -1"
    )
    assert told(said, ["Hello"]) == said

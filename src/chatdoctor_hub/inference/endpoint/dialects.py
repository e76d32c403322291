"""How the servers of the Messages API differ, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

from chatdoctor_hub.errors import ConfigError

__all__ = ["DIALECTS", "Dialect", "dialect_named"]


@dataclass(frozen=True)
class Dialect:
    """What a kind of server takes and gives; the defaults are those of an OpenAI-like server.

    What a server would silently ignore is not sent to it: the request is refused instead.

    Args:
        name: "tgi", "vllm", "llama_cpp", "llama_cpp_python", "transformers", "openai".
        title: its name for messages.
        schemas: how a schema for the answer is written: {"type": "json_object", "value": …} ("value"),
            {"type": "json_object", "schema": …} ("schema"), {"type": "json_schema", "json_schema": …}
            ("json_schema"); None where it is ignored.
        choices: which tool choices it heeds; "named" is one tool by its name. Of "required" and "named" one may
            stand in for the other.
        chooses_model: whether `model` chooses: an adapter, or another model that is served.
        logprobs: whether it reports log-probabilities.
        most_stops: how many stop strings it takes; the others are found here. None for any number.
        fields: settings beyond OpenAI's own -> what they are called on the wire.
        always: what to send unless something else is asked for, where the server's own default may be another.
        penalties: whether frequency and presence penalties mean what OpenAI means by them.
        usage_on_demand: whether a stream must be asked for its usage.
        text_with_calls: whether an assistant's message may have both text and tool calls.
        own_ids: whether its ids of tool calls differ from each other over a conversation.
        counting: which of its routes counts tokens.
        default_model: what to send where no model is named; None to send the first that it lists.
        generation_config: whether what OpenAI has no field for goes into one with JSON of transformers'.
    """

    name: str
    title: str
    schemas: Literal["value", "schema", "json_schema"] | None = "json_schema"
    choices: frozenset[str] = frozenset({"auto", "none", "required", "named"})
    chooses_model: bool = True
    logprobs: bool = True
    most_stops: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    penalties: frozenset[str] = frozenset({"frequency_penalty", "presence_penalty"})
    usage_on_demand: bool = True
    text_with_calls: bool = True
    own_ids: bool = True
    counting: Literal["chat_tokenize", "tokenize", "apply_template", "one_token"] = "one_token"
    default_model: str | None = None
    generation_config: bool = False


# TGI 3.3 hands `presence_penalty` + 2 to its sampler as the repetition penalty (`router/src/lib.rs`), so that field
# is how a repetition penalty gets there, and a presence penalty is out of reach.
_TGI = Dialect(
    "tgi",
    "Text Generation Inference",
    schemas="value",
    most_stops=4,
    penalties=frozenset({"frequency_penalty"}),
    fields={"repetition_penalty": "presence_penalty"},
    text_with_calls=False,
    own_ids=False,
    counting="chat_tokenize",
    default_model="tgi",
)
_VLLM = Dialect(
    "vllm",
    "vLLM",
    fields={"top_k": "top_k", "repetition_penalty": "repetition_penalty"},
    # Its defaults are those of the model's generation config.
    always={"top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0},
    counting="tokenize",
)
# `tools/server/server-common.cpp` of llama.cpp reads tool_choice as a string, and anything else as "auto".
_LLAMA_CPP = Dialect(
    "llama_cpp",
    "llama.cpp",
    schemas="schema",
    choices=frozenset({"auto", "none", "required"}),
    chooses_model=False,
    fields={"top_k": "top_k", "repetition_penalty": "repeat_penalty"},
    # Its defaults are 0.95, 40, 1.0 or 1.1, and 0.05.
    always={"top_p": 1.0, "top_k": 0, "repeat_penalty": 1.0, "min_p": 0.0},
    counting="apply_template",
    default_model="default",
)
# `llama_chat_format.py` of llama-cpp-python: a named tool is enforced by a grammar, any other choice ignored.
_LLAMA_CPP_PYTHON = replace(
    _LLAMA_CPP,
    name="llama_cpp_python",
    title="llama-cpp-python",
    choices=frozenset({"auto", "none", "named"}),
    usage_on_demand=False,
    counting="one_token",
)
# It logs and ignores tool_choice, response_format, logprobs, presence_penalty and stream_options, and takes
# frequency_penalty for a repetition penalty (`cli/serving/chat_completion.py` of transformers 5).
_TRANSFORMERS = Dialect(
    "transformers",
    "transformers serve",
    schemas=None,
    choices=frozenset({"auto", "none"}),
    logprobs=False,
    penalties=frozenset(),
    usage_on_demand=False,
    text_with_calls=False,
    generation_config=True,
    always={"top_p": 1.0},
)
_OPENAI = Dialect("openai", "an OpenAI-like server", most_stops=4)

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect for dialect in (_TGI, _VLLM, _LLAMA_CPP, _LLAMA_CPP_PYTHON, _TRANSFORMERS, _OPENAI)
}


def dialect_named(name: str | Dialect) -> Dialect:
    """The dialect of that name, or itself.

    Raises:
        ConfigError: naming the near ones.
    """
    if isinstance(name, Dialect):
        return name
    if name not in DIALECTS:
        near = get_close_matches(name, DIALECTS, 1)
        hint = f"did you mean {near[0]!r}?" if near else "leave it out, to have the server asked."
        raise ConfigError(f"Expected a dialect out of {', '.join(DIALECTS)}, found {name!r}; {hint}")
    return DIALECTS[name]

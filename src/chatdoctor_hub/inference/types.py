"""What is asked of an engine and what it answers, as frozen values.

Messages are in the Hub's format: `{"role": "system" | "user" | "assistant" | "tool", "content": str}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.calls import InvalidToolCall, ToolCall, ToolCallDelta
from chatdoctor_hub.inference.sampling import Sampling, is_whole

__all__ = [
    "ChatDelta",
    "ChatReply",
    "ChatRequest",
    "EngineInfo",
    "FinishReason",
    "Form",
    "InvalidToolCall",
    "Overflow",
    "Quantization",
    "Sampling",
    "TokenLogprob",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
]

Form = Literal["serving", "training"]
"""With the safety prompt ("serving", the default everywhere) or without it ("training", for measurements)."""

FinishReason = Literal["stop", "length", "tool_calls"]
"""The model ended its turn or met a stop string ("stop"), ran out of tokens ("length"), or calls tools."""

Overflow = Literal["error", "drop_oldest"]
"""A prompt that does not fit is refused, or shortened by its oldest whole turns: never the prompt, never the newest."""


Quantization = Literal["4bit", "8bit"]
"""A base in NF4 with doubly quantized scales (QLoRA, arXiv 2305.14314), or in LLM.int8() (arXiv 2208.07339)."""


@dataclass(frozen=True)
class ChatRequest:
    """One conversation to be answered.

    Args:
        messages: the conversation so far, without any prompt of ours: the engine applies the prompt pair.
        sampling: how to choose the tokens.
        form: "serving" (with the safety prompt) or "training" (without, to measure what it does).
        tools: what the model may call, in the form of OpenAI and of chat templates:
            `{"type": "function", "function": {"name": …, "description": …, "parameters": JSON schema}}`.
        tool_choice: "auto" (as the model sees fit), "none", "required" (at least one), or a tool's name.
        response_schema: JSON schema that the text of the answer is to satisfy; {} for any JSON object.
        adapter: which of the engine's adapters answers; None for its default, "" for the base without any.
        logprobs: how many likely alternatives to report for each token; None for no log-probabilities at all.
        overflow: what to do with a prompt that does not fit.

    Raises:
        ConfigError: for another form, tools without a name or of the same name, a choice that is no tool, tools
            together with a schema, or numbers out of range.
    """

    messages: tuple[Mapping[str, Any], ...]
    sampling: Sampling = field(default_factory=Sampling)
    form: Form = "serving"
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str = "auto"
    response_schema: Mapping[str, Any] | None = None
    adapter: str | None = None
    logprobs: int | None = None
    overflow: Overflow = "error"

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", tuple(self.messages))
        object.__setattr__(self, "tools", tuple(self.tools))
        self._check_tools()
        if self.form not in get_args(Form):
            raise ConfigError(
                f"Expected the form of a request to be one of {', '.join(get_args(Form))}, found "
                f"{self.form!r}; use 'serving' unless the effect of the safety prompt is what you measure."
            )

    @property
    def tool_names(self) -> tuple[str, ...]:
        """The names of the tools, in their order."""
        return tuple(str(tool["function"]["name"]) for tool in self.tools)

    def _check_tools(self) -> None:
        faults = []
        for number, tool in enumerate(self.tools):
            function = tool.get("function") if isinstance(tool, Mapping) else None
            if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
                faults.append(f"tool {number} must have function.name")
        names = () if faults else self.tool_names
        faults += [
            f"the tool {name!r} is given twice" for name in sorted({n for n in names if names.count(n) > 1})
        ]
        if not faults and self.tool_choice not in ("auto", "none", *(("required", *names) if names else ())):
            faults.append(
                f"tool_choice must be auto, none, required or one of {list(names)}, found {self.tool_choice!r}"
            )
        if self.tools and self.response_schema is not None and self.tool_choice != "none":
            faults.append("either tools or a response schema, found both")
        if self.logprobs is not None and not (is_whole(self.logprobs, 0) and self.logprobs <= 20):
            faults.append(f"logprobs must be None or from 0 to 20, found {self.logprobs!r}")
        if self.overflow not in get_args(Overflow):
            faults.append(f"overflow must be one of {', '.join(get_args(Overflow))}, found {self.overflow!r}")
        if faults:
            raise ConfigError(f"Expected a request that can be answered: {'; '.join(faults)}.")


@dataclass(frozen=True)
class TokenLogprob:
    """How likely a token of the answer was.

    Args:
        token: its text.
        logprob: natural logarithm of its probability.
        top: the likeliest tokens in its place, with theirs.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Usage:
    """Tokens read and written.

    Args:
        input_tokens: tokens of the whole prompt, the safety prompt and the template's marks included.
        output_tokens: tokens the model wrote, the one that ends its turn included.
    """

    input_tokens: int
    output_tokens: int

    @property
    def total_tokens(self) -> int:
        """Tokens read and written together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class ChatReply:
    """A whole answer.

    Args:
        text: the answer; a stop string that ended it is not part of it.
        finish_reason: "stop" or "length".
        usage: tokens read and written.
        model: the name of the model that answered.
        tool_calls: what the model wants called, in order.
        invalid_tool_calls: what cannot be read as a call.
        reasoning: what the model thought before it answered, where it and its template tell.
        logprobs: one a token, where they were asked for.
        refusal: what the server declined with, in the place of an answer.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    model: str
    tool_calls: tuple[ToolCall, ...] = ()
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] | None = None
    refusal: str = ""


@dataclass(frozen=True)
class ChatDelta:
    """A piece of an answer; the texts of a stream, joined, are the text of the whole answer.

    Args:
        text: the new characters; never half a character, and empty in the last piece.
        finish_reason: set in the last piece only.
        usage: set in the last piece only.
        reasoning: the new characters of what it thinks.
        tool_calls: new pieces of calls.
        logprobs: of the tokens of this piece, where they were asked for.
        refusal: the new characters of what the server declines with.
    """

    text: str
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    refusal: str = ""


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is and runs on.

    Args:
        engine: the kind of engine ("LocalEngine").
        model: the model's name: the folder or Hub id it was loaded from, or the name it was given.
        prompt: id of the prompt pair that is applied.
        serving_sha256: digest of the pair's serving form.
        device: "cpu", "cuda:0", "mps"; "none" where nothing is computed.
        dtype: "float32", "bfloat16", "float16"; "none" where nothing is computed.
        context_length: tokens that prompt and answer may have together; None where there is no limit.
        fingerprint: changes when the weights do; part of the key of cached answers.
        adapters: names that a request may choose with `adapter`, besides the default.
        base: what the base without adapters is called, which a request chooses with "".
        quantization: "4bit" or "8bit" where the base is quantized by the engine.
        revision: commit of a model from the Hub.
    """

    engine: str
    model: str
    prompt: str
    serving_sha256: str
    device: str
    dtype: str
    context_length: int | None
    fingerprint: str = ""
    adapters: tuple[str, ...] = ()
    base: str | None = None
    quantization: Quantization | None = None
    revision: str | None = None

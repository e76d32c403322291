"""`Talk`: what is said to a server to have a conversation answered, as programs of calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chatdoctor_hub.errors import ConfigError, ContextLengthError
from chatdoctor_hub.inference.endpoint.calls import Answer, Call, Program
from chatdoctor_hub.inference.endpoint.counting import CHAT, count
from chatdoctor_hub.inference.endpoint.dialects import Dialect
from chatdoctor_hub.inference.endpoint.probing import ServerInfo, probe
from chatdoctor_hub.inference.endpoint.rawly import raw_answer, raw_call, speaks_raw
from chatdoctor_hub.inference.endpoint.replies import Assembler, read_reply
from chatdoctor_hub.inference.endpoint.requests import chat_payload, private_texts
from chatdoctor_hub.inference.engine import apply_prompt
from chatdoctor_hub.inference.shortening import without_oldest_turn
from chatdoctor_hub.inference.types import ChatReply, ChatRequest
from chatdoctor_hub.prompts import PromptPair

__all__ = ["Talk"]


class Talk:
    """Turns requests into calls and answers into replies, for one server.

    Args:
        pair: the prompt pair, merged into every request.
        where: the address, for messages.
        dialect: what the caller says that the server is, None to find out.
        model: the model to ask for, None for what is served.
        server: what the server is, where that is known already.

    Attributes:
        server: what the server is, None before it was asked.
    """

    def __init__(
        self,
        pair: PromptPair,
        where: str,
        dialect: Dialect | None,
        model: str | None,
        server: ServerInfo | None = None,
    ) -> None:
        self.server = server
        self._pair = pair
        self._where = where
        self._dialect = dialect
        self._model = model
        self._is_pure: bool | None = None

    def probing(self) -> Program[ServerInfo]:
        """What the server is; it is asked once, and again if that failed."""
        if self.server is None:
            self.server = yield from probe(self._where, self._dialect, self._model)
        return self.server

    def answering(self, request: ChatRequest) -> Program[ChatReply]:
        """The whole answer."""
        reply: ChatReply = yield from self._fitting(request, stream=False)
        return reply

    def streaming(self, request: ChatRequest) -> Program[Any]:
        """The deltas of the answer."""
        return (yield from self._fitting(request, stream=True))

    def counting(self, request: ChatRequest) -> Program[int]:
        """Tokens of the prompt."""
        messages = apply_prompt(self._pair, request)
        server = yield from self.probing()
        payload = chat_payload(request, messages, server.dialect, server.model)
        private = tuple(private_texts(request.messages))
        return (yield from count(server.dialect.counting, payload, private, self._where))

    def _fitting(self, request: ChatRequest, stream: bool) -> Program[Any]:
        """The answer; where the prompt does not fit and that is allowed, without the oldest turns."""
        while True:
            try:
                return (yield from self._once(request, stream))
            except ContextLengthError:
                shorter = without_oldest_turn(request.messages)
                if request.overflow != "drop_oldest" or shorter is None:
                    raise
                request = replace(request, messages=shorter)

    def _once(self, request: ChatRequest, stream: bool) -> Program[Any]:
        messages = apply_prompt(self._pair, request)
        server = yield from self.probing()
        private = tuple(private_texts(request.messages))
        if request.form == "training":
            yield from self._check_pure(request, server, private)
        if speaks_raw(request, server.dialect):
            return (yield from self._raw(request, messages, server, private, stream))
        payload = chat_payload(request, messages, server.dialect, server.model, stream=stream)
        if stream:
            return (yield Call(CHAT, payload, private, assembler=self._assembler(request, server, private)))
        answer: Answer = yield Call(CHAT, payload, private)
        return read_reply(
            answer.body, request, server.dialect, server.serves or server.model, self._where, private
        )

    def _raw(
        self,
        request: ChatRequest,
        messages: list[dict[str, Any]],
        server: ServerInfo,
        private: tuple[str, ...],
        stream: bool,
    ) -> Program[Any]:
        call = yield from raw_call(request, messages, server, private, stream, self._where)
        if stream:
            return (yield replace(call, assembler=self._assembler(request, server, private)))
        answer: Answer = yield call
        return raw_answer(answer.body, request, server, self._where, private)

    def _assembler(self, request: ChatRequest, server: ServerInfo, private: tuple[str, ...]) -> Any:
        return lambda: Assembler(request, server.dialect, self._where, private)

    def _check_pure(
        self, request: ChatRequest, server: ServerInfo, private: tuple[str, ...]
    ) -> Program[None]:
        """Make sure that the training form gets to the model as it is, where the server can tell.

        A release's own template puts the safety prompt in front of whatever it is sent; what is measured without it
        would be measured with it.
        """
        if self._is_pure is None and server.dialect.name == "tgi" and self._pair.safety:
            payload = chat_payload(
                replace(request, tools=(), tool_choice="auto", response_schema=None),
                self._pair.render_training_messages([{"role": "user", "content": "Hello"}]),
                server.dialect,
                server.model,
            )
            answer: Answer = yield Call(
                "/chat_tokenize", {"messages": payload["messages"]}, private, lenient=True
            )
            body: Any = answer.body
            text = body.get("templated_text") if isinstance(body, Mapping) else None
            self._is_pure = not (isinstance(text, str) and self._pair.safety in text)
        if self._is_pure is False:
            raise ConfigError(
                f"{self._where}: expected a server that adds no safety prompt, found one whose chat template has that "
                f"of {self._pair.id} in it; measure the training form on the weights themselves."
            )

"""Teachers made for tests: real LangChain chat models that answer from the row, sometimes badly on purpose."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, PrivateAttr


class ServiceError(Exception):
    """As clients raise it, with a status."""

    def __init__(self, status_code: int, retry_after: float | None = None) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        self.response = type("Response", (), {"headers": headers, "status_code": status_code})()


def between(text: str, mark: str) -> Any:
    return json.loads(text.split(f"<{mark}>")[1].split(f"</{mark}>")[0])


def good_turns(human: str) -> list[dict[str, str]]:
    """A dialogue that keeps to the row, of as many turns as are asked for."""
    row = between(human, "row")
    symptoms = " and ".join(row["the patient begins with"])
    wanted = re.search(r"Write (\d+) turns", human)
    turns = [("patient", f"Hello doctor, I have noticed {symptoms}, and I would like to know what to do.")]
    for number in range((int(wanted.group(1)) - 2) // 2 if wanted else 0):
        turns.append(
            ("doctor", ("How long have you had this?", "Has it become worse since then?")[number % 2])
        )
        turns.append(("patient", "For some days now, about the same."))
    parts = [
        "Thank you for telling me, and I am sorry that you feel unwell.",
        f"What you describe may be {row['disease']}, though only an examination can tell that.",
        f"A test that can help is {row['tests'][0]}." if row.get("tests") else "",
        f"What is often given is {row['medications'][0]}." if row.get("medications") else "",
        row.get("when to see a doctor", ""),
        "Please come back when anything changes, and write down what you notice until then, so that we can "
        "talk about it calmly.",
    ]
    turns.append(("doctor", " ".join(filter(None, parts))))
    return [{"speaker": speaker, "text": text} for speaker, text in turns]


def spoiled(turns: list[dict[str, str]], kind: str) -> list[dict[str, str]]:
    """The same dialogue with one fault."""
    last = turns[-1]["text"]
    added = {
        "drug": "You can take amoxicillin for it.",
        "new drug": "You can take zorbucillin for it.",
        "test": "We will do a colonoscopy.",
        "other disease": "You may have malaria as well.",
        "new disease": "You may have splenitis as well.",
        "dose": "Take 500 mg twice a day.",
        "refusal": "As an AI language model I cannot say more.",
        "label": "\nPatient: Thank you.",
        "placeholder": "Yours, [Doctor's name].",
        "certainty": "You definitely have it.",
    }
    if kind in added:
        return [*turns[:-1], {"speaker": "doctor", "text": f"{last} {added[kind]}"}]
    if kind == "advice first":
        return [turns[0], {"speaker": "doctor", "text": "You should rest and drink water."}, *turns[2:]]
    if kind == "roles":
        return [*turns, turns[-1]]
    if kind == "long":
        return [*turns[:-1], {"speaker": "doctor", "text": f"{last} {'and so on ' * 80}"}]
    if kind == "no finding":
        return [
            *turns[:-1],
            {"speaker": "doctor", "text": "It is hard to say, " + "so please wait a while " * 9},
        ]
    raise AssertionError(kind)


class FakeTeacher(BaseChatModel):
    """Answers by what it reads in the prompt; `script[n][a - 1]` is what goes wrong in attempt a of dialogue n."""

    model: str = "fake-teacher"
    script: dict[int, list[str]] = Field(default_factory=dict)
    delay: float = 0.0
    fenced: bool = False
    counts_tokens: bool = True
    polisher: Any = None
    tool_fault: str = ""
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _prompts: list[str] = PrivateAttr(default_factory=list)
    _running: int = PrivateAttr(default=0)
    _most: int = PrivateAttr(default=0)
    _tools: list[str] = PrivateAttr(default_factory=list)
    _tries: dict[str, int] = PrivateAttr(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "fake"

    @property
    def prompts(self) -> list[str]:
        return self._prompts

    @property
    def tools(self) -> list[str]:
        """The tool of each call that had one."""
        return self._tools

    @property
    def most_at_once(self) -> int:
        return self._most

    def _generate(
        self, messages: Sequence[BaseMessage], stop: Any = None, run_manager: Any = None, **kw: Any
    ) -> ChatResult:
        shown = "\n".join(f"{message.type}: {message.content}" for message in messages)
        tool = str(kw.get("tool_name", ""))
        with self._lock:
            self._prompts.append(shown)
            self._tools += [tool] if tool else []
            tries = self._tries[shown] = self._tries.get(shown, 0) + 1
            self._running += 1
            self._most = max(self._most, self._running)
        try:
            if tool and self.tool_fault:
                raise NotImplementedError if self.tool_fault == "no tools" else ServiceError(400)
            return self._answer(messages, shown, tries)
        finally:
            with self._lock:
                self._running -= 1

    def _answer(self, messages: Sequence[BaseMessage], shown: str, tries: int) -> ChatResult:
        first = next(str(message.content) for message in messages if message.type == "human")
        attempt = int((re.findall(r"This is attempt (\d+) of", shown) or ["1"])[-1])
        number = int((re.search(r"Dialogue (\d+) about", first) or [0, "0"])[1])
        # Later calls are faster, so that the answers come in another order than the questions.
        time.sleep(self.delay * (2 if number % 3 == 0 else 1))
        planned = self.script.get(number, [])
        kind = planned[attempt - 1] if attempt <= len(planned) else ""
        if kind.startswith("status") and tries == 1:
            raise ServiceError(int(kind.split()[1]), retry_after=0)
        if kind == "down":
            raise ServiceError(503)
        if kind == "forbidden":
            raise ServiceError(401)
        if kind == "bad request":
            raise ServiceError(400)
        if kind == "reset" and tries == 1:
            raise ConnectionResetError("reset")
        if kind == "hang":
            time.sleep(60)
        content, about = self._content(first, kind)
        usage = (
            {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110} if self.counts_tokens else None
        )
        message = self._message(content, kind, usage, about)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _content(self, human: str, kind: str) -> tuple[Any, dict[str, Any]]:
        if "<data>" in human:
            return {"passages": self.polisher(between(human, "data")["passages"])}, {}
        turns = good_turns(human)
        whole_faults = ("", "garbage", "empty", "cut off", "hang", "reset")
        if kind not in whole_faults and not kind.startswith("status"):
            turns = spoiled(turns, kind)
        return {"turns": turns}, {"finish_reason": "length"} if kind == "cut off" else {}

    def _message(self, content: Any, kind: str, usage: Any, about: dict[str, Any]) -> AIMessage:
        text = json.dumps(content)
        if kind == "garbage":
            text = '{"turns": [{"speaker": "patient", "text": "I have'
        if kind == "empty":
            text = ""
        if self.fenced:
            text = f"<think>{{not this}}</think>Here you are:\n```json\n{text[:-1]},}}\n```\nGood luck!"
        return AIMessage(content=text, usage_metadata=usage, response_metadata=about)


class StructuredTeacher(FakeTeacher):
    """The same with tool calls, as models with structured output have them."""

    model: str = "structured-teacher"

    def bind_tools(self, tools: Sequence[Any], **kw: Any) -> Any:
        names = [getattr(tool, "__name__", None) or tool["function"]["name"] for tool in tools]
        return self.bind(tool_name=names[0])

    def _message(self, content: Any, kind: str, usage: Any, about: dict[str, Any]) -> AIMessage:
        if kind in ("garbage", "empty"):
            return super()._message(content, kind, usage, about)
        name = "RewrittenPassages" if "passages" in content else "WrittenDialogue"
        call = {"name": name, "args": content, "id": "1", "type": "tool_call"}
        return AIMessage(content="", tool_calls=[call], usage_metadata=usage, response_metadata=about)

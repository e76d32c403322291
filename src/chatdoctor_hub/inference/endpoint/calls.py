"""What is asked of a server, apart from how: a `Call`, and programs of calls that run on any line."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.endpoint.replies import Assembler

__all__ = ["Answer", "Call", "Program", "run", "run_async"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Call:
    """One request to a server.

    Args:
        path: below its root.
        payload: JSON to send; None asks with GET.
        private: texts of the conversation, which no error repeats.
        lenient: whether a refusal (4xx) is an answer as well; otherwise it is raised.
        assembler: makes what puts the chunks of a stream together; None for an answer in one piece.
    """

    path: str
    payload: Mapping[str, Any] | None = None
    private: tuple[str, ...] = ()
    lenient: bool = False
    assembler: Callable[[], Assembler] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Answer:
    """What came back.

    Args:
        status: of HTTP.
        body: as JSON; None where it is none.
        is_page: whether it is a web page.
    """

    status: int
    body: Any
    is_page: bool = False


Program = Generator[Call, Any, Result]
"""Yields calls, is sent their answers (for a stream: the deltas), and returns a result.

So what needs several calls is written once, for threads and for event loops.
"""


def run(program: Program[Result], ask: Callable[[Call], Any]) -> Result:
    """Carry out a program, call after call; errors of a call are raised within it."""
    try:
        call = next(program)
        while True:
            try:
                answer = ask(call)
            except GenerationError as error:
                call = program.throw(error)
            else:
                call = program.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result


async def run_async(program: Program[Result], ask: Callable[[Call], Any]) -> Result:
    """`run`, where `ask` is a coroutine function."""
    try:
        call = next(program)
        while True:
            try:
                answer = await ask(call)
            except GenerationError as error:
                call = program.throw(error)
            else:
                call = program.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result

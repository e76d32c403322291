"""Asking a teacher model many things at once, each answer checked, each reply kept.

A task is a prompt, a schema and a judge. A reply that the judge rejects is asked for again together with
the reasons, so that no prompt is sent twice; every reply goes into the journal as it arrives. The results
come in the order of the tasks, and do not depend on how many calls run side by side.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from chatdoctor_hub.corpus.writing.teaching.journal import Journal
from chatdoctor_hub.corpus.writing.teaching.teacher_calls import Caller, Reply, is_permanent
from chatdoctor_hub.corpus.writing.teaching.teacher_report import TeacherConfig, TokenCount
from chatdoctor_hub.errors import GenerationError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["Answers", "Fault", "Task", "ask_all"]

T = TypeVar("T")
R = TypeVar("R")
_AGAIN = (
    "This is attempt {attempt} of {attempts}. Your last answer cannot be used, for these reasons:\n{reasons}\n"
    "Write the whole answer anew in the same format, with these faults mended and nothing else worse."
)
_SAID = {
    "unreadable": "It could not be read in the format that was asked for.",
    "cut off": "It was cut off because it was too long.",
    "empty": "It was empty.",
}


@dataclass(frozen=True)
class Fault:
    """Why an answer is rejected: its kind, for counting, and a sentence, for the teacher."""

    kind: str
    sentence: str


@dataclass(frozen=True)
class Task(Generic[T]):
    """One thing to ask.

    Args:
        key: what the journal knows it by: a digest of everything that it depends on.
        prompt: pairs of a LangChain role ("system", "human") and a text.
        schema: the form of the answer.
        judge: makes the result of an answer, or tells what is wrong with it.
    """

    key: str
    prompt: tuple[tuple[str, str], ...]
    schema: type[BaseModel]
    judge: Callable[[Any], tuple[T | None, Sequence[Fault]]]


@dataclass
class Answers(Generic[T]):
    """What became of the tasks.

    Args:
        values: what the judge made of the last answer to each task, in the order of the tasks; None where it
            made nothing of it, or no answer came.
        last: the last faults of each task, in the same order; empty where the answer was accepted.
        failed: tasks to which no answer came, so that asking again may help.
        replies: all replies behind the results; `reused` of them were in the journal.
        calls: calls made now; `retried` of them again after a fault that may pass.
        rejections: rejected replies by kind of fault.
        usage: tokens of all replies.
        keys: of the tasks.
    """

    values: list[T | None] = field(default_factory=list)
    last: list[tuple[Fault, ...]] = field(default_factory=list)
    failed: int = 0
    replies: int = 0
    reused: int = 0
    calls: int = 0
    retried: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    usage: TokenCount = field(default_factory=TokenCount)
    keys: list[str] = field(default_factory=list)


def ask_all(
    teacher: BaseChatModel,
    tasks: Iterable[Task[T]],
    config: TeacherConfig,
    journal: Journal,
    on_progress: Callable[[Answers[T]], None] | None = None,
) -> Answers[T]:
    """Ask all tasks, `config.max_concurrency` at a time; works inside a running event loop as well.

    Args:
        teacher: any LangChain chat model.
        tasks: taken one by one as they are asked.
        config: how to ask.
        journal: what is known already, and where the replies go.
        on_progress: called after each task with the state so far.

    Raises:
        GenerationError: when the teacher refuses every call (no key, no such model), or fails on
            `config.stop_after` tasks in a row. What was answered so far is in the journal.
    """

    async def run() -> Answers[T]:
        loop = asyncio.get_running_loop()
        # Models without an asynchronous interface are called in threads, as many as are asked at a time.
        loop.set_default_executor(_Threads(config.max_concurrency))
        return await _Run(teacher, tasks, config, journal, on_progress).all()

    return _blocking(run)


class _Run(Generic[T]):
    def __init__(
        self,
        teacher: BaseChatModel,
        tasks: Iterable[Task[T]],
        config: TeacherConfig,
        journal: Journal,
        on_progress: Callable[[Answers[T]], None] | None,
    ) -> None:
        self._tasks: Iterator[tuple[int, Task[T]]] = enumerate(tasks)
        self._config, self._journal, self._on_progress = config, journal, on_progress
        self._answers: Answers[T] = Answers()
        self._in_a_row = 0
        self._caller = Caller(
            teacher,
            structured=config.structured,
            timeout=config.timeout,
            retries=config.retries,
            backoff=config.backoff,
            limiter=_limiter(config),
        )

    async def all(self) -> Answers[T]:
        workers = [asyncio.create_task(self._work()) for _ in range(self._config.max_concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        self._answers.calls, self._answers.retried = self._caller.calls, self._caller.retried
        return self._answers

    async def _work(self) -> None:
        for number, task in self._tasks:
            answers = self._answers
            answers.values += [None] * (number + 1 - len(answers.values))
            answers.last += [()] * (number + 1 - len(answers.last))
            answers.keys += [""] * (number + 1 - len(answers.keys))
            answers.keys[number] = task.key
            try:
                answers.values[number], answers.last[number] = await self._settle(task)
                self._in_a_row = 0
            except Exception as error:  # noqa: BLE001 - what a teacher may raise is not known
                self._fail(error)
                answers.last[number] = (Fault("no answer", "No answer came."),)
            if self._on_progress:
                answers.calls, answers.retried = self._caller.calls, self._caller.retried
                self._on_progress(answers)

    async def _settle(self, task: Task[T]) -> tuple[T | None, tuple[Fault, ...]]:
        """Take the replies that are known, ask for what is missing."""
        prompt = task.prompt
        value: T | None = None
        faults: tuple[Fault, ...] = ()
        known = self._journal.of(task.key)
        for attempt in range(1, self._config.attempts + 1):
            if attempt <= len(known):
                record, is_new = known[attempt - 1], False
                self._answers.reused += 1
            else:
                record, is_new = _to_record(await self._caller.ask(prompt, task.schema), attempt), True
            settled = _judged(task, record)
            value, faults = settled
            if is_new:
                self._journal.add(task.key, {**record, "rejected": [fault.kind for fault in faults]})
            self._count(record, faults)
            if not faults:
                return settled
            prompt = _again(task.prompt, str(record["text"]), faults, attempt + 1, self._config.attempts)
        return value, faults

    def _count(self, record: dict[str, Any], faults: Sequence[Fault]) -> None:
        self._answers.replies += 1
        self._answers.rejections.update({fault.kind for fault in faults})
        self._answers.usage += TokenCount.of(record.get("usage"))

    def _fail(self, error: Exception) -> None:
        """One task without an answer; too many of them, or a lasting cause, end the run."""
        from chatdoctor_hub.errors import ChatDoctorError

        if isinstance(error, ChatDoctorError):
            raise error
        self._answers.failed += 1
        self._in_a_row += 1
        status = getattr(error, "status_code", None)
        found = type(error).__name__ + (f" (status {status})" if isinstance(status, int) else "")
        if is_permanent(error):
            raise GenerationError(
                f"Expected the teacher to answer, found {found} that would meet every further call; check its "
                "name, its key and its settings, then run again: what was answered is in the journal."
            ) from error
        if self._in_a_row >= self._config.stop_after:
            raise GenerationError(
                f"Expected the teacher to answer, found {self._in_a_row} tasks in a row that ended with "
                f"{found}; check the service, then run again: what was answered is in the journal."
            ) from error


def _judged(task: Task[T], record: dict[str, Any]) -> tuple[T | None, tuple[Fault, ...]]:
    if record.get("fault") or record.get("reply") is None:
        kind = str(record.get("fault") or "unreadable")
        return None, (Fault(kind, _SAID.get(kind, _SAID["unreadable"])),)
    try:
        value, faults = task.judge(task.schema.model_validate(record["reply"]))
    except ValueError:
        return None, (Fault("unreadable", _SAID["unreadable"]),)
    return value, tuple(faults)


def _to_record(reply: Reply, attempt: int) -> dict[str, Any]:
    value = None if reply.value is None else reply.value.model_dump(mode="json")
    return {
        "attempt": attempt,
        "reply": value,
        "text": reply.text[:20_000],
        "fault": reply.fault,
        "usage": reply.usage,
    }


def _again(
    prompt: Sequence[tuple[str, str]], text: str, faults: Sequence[Fault], attempt: int, attempts: int
) -> tuple[tuple[str, str], ...]:
    reasons = "\n".join(f"- {sentence}" for sentence in dict.fromkeys(fault.sentence for fault in faults))
    asked = _AGAIN.format(attempt=attempt, attempts=attempts, reasons=reasons)
    return (*prompt, ("ai", text.strip() or "(no answer)"), ("human", asked))


def _limiter(config: TeacherConfig) -> Any:
    if config.requests_per_second is None:
        return None
    from langchain_core.rate_limiters import InMemoryRateLimiter

    rate = config.requests_per_second
    return InMemoryRateLimiter(requests_per_second=rate, check_every_n_seconds=min(0.1, 0.25 / rate))


class _Threads(ThreadPoolExecutor):
    """A thread a call, which nobody waits for: a model that hangs must not keep the run from ending."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the result
                future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to wait for."""


def _blocking(run: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """The result of a coroutine, also where an event loop runs already (in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(lambda: asyncio.run(run())).result()

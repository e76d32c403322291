"""`Scheduler`: the requests of all threads and tasks, answered together by one thread.

transformers' own continuous batching is not used, on a GPU either: in release 5.23 its manager samples all requests
with the one generator of the device (`torch.multinomial`), so that a request has no seed of its own and its text
depends on its neighbours, decides greedy or not for all, has no stop strings, and gives nothing of ours a say
between scores and token, where grammars and penalties work.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.scheduling.passes import Forwards, Models
from chatdoctor_hub.inference.scheduling.prefixes import PrefixCache
from chatdoctor_hub.inference.scheduling.rounds import Rounds
from chatdoctor_hub.inference.scheduling.tickets import Ticket
from chatdoctor_hub.models import first_line

__all__ = ["Scheduler"]

# Seconds without a request after which the thread ends; the next one starts another.
_IDLE = 10.0
# Tokens of new prompts in one round while others wait for their next token; at least one prompt.
_BITE = 2048
# Seconds that the first of several waits for those whose prompts are being written.
_GATHER = 0.02
_ALIVE: weakref.WeakSet[Scheduler] = weakref.WeakSet()


class Scheduler:
    """Answers tickets, as many together as there are seats for.

    Before each token it takes in who waits: new rows are read together and join those under way. Each call of
    `submit` is a queue of its own and the queues take turns, so that a stream does not wait for the end of a long
    batch; and of many new prompts only some are read between two tokens of the rows under way. A thread computes; it is
    started by the first request and ends with `close`, with the interpreter, or when nothing came for a while.
    Nobody waits for a lock while something is computed.

    Args:
        models: what computes.
        padding: any token id; what it stands for is hidden.
        spell: the text of a token, for log-probabilities.
        name: of the model, for messages.
        seats: rows answered at the same time.
        prefix_cache: compute what all prompts begin with once.
    """

    def __init__(
        self,
        models: Models,
        padding: int,
        spell: Callable[[int], str],
        *,
        name: str,
        seats: int,
        prefix_cache: bool = True,
    ) -> None:
        forwards = Forwards(models)
        prefixes = PrefixCache(forwards, prefix_cache)
        self._open: Callable[[], Rounds] | None = lambda: Rounds(forwards, prefixes, padding, spell, name)
        self._name, self._seats = name, seats
        self._renew()
        _watch()
        _ALIVE.add(self)

    def _renew(self) -> None:
        """No thread, nobody waiting: as at the beginning, and in the child after a fork."""
        self._news = threading.Condition()
        self._queues: deque[deque[Ticket]] = deque()
        self._thread: threading.Thread | None = None
        self._coming = 0

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""
        return self._open is None

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Somebody writes a prompt and is going to submit it: who comes alone waits a moment, to be read together."""
        with self._news:
            self._coming += 1
        try:
            yield
        finally:
            with self._news:
                self._coming -= 1
                self._news.notify()

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """Answer these; one caller's, with about as long prompts beside each other.

        Raises:
            GenerationError: when it is closed.
        """
        with self._news:
            if self._open is None:
                raise self.closing()
            if not tickets:
                return
            self._queues.append(deque(sorted(tickets, key=lambda ticket: len(ticket.row.prompt))))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_work, args=(self,), name=f"chatdoctor-hub {self._name}", daemon=True
                )
                self._thread.start()
            self._news.notify()

    def close(self) -> None:
        """Take no more, and let go of the models; what is under way fails at its next token."""
        with self._news:
            self._open = None
            self._news.notify()

    def end(self, seconds: float) -> None:
        """`close`, and wait so long for the thread to end."""
        self.close()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)

    def closing(self) -> GenerationError:
        """What is raised from then on."""
        return GenerationError(f"{self._name}: expected an open engine, found it closed; make a new one.")

    def rounds(self) -> Rounds | None:
        """Where the rows of this thread are to be."""
        made = self._open
        return made() if made is not None else None

    def admit(self, under_way: int) -> list[Ticket] | None:
        """Who is to be answered next; waits while there is nothing to do, None when the thread is to end."""
        with self._news:
            while not (self._queues or under_way or self.closed):
                if not self._news.wait(_IDLE) and not self._queues:
                    break
            if self._queues and not under_way:
                self._news.wait_for(lambda: self.closed or not self._coming, _GATHER)
            if self.closed or not (self._queues or under_way):
                self._thread = None
                return None
            return self._taken(under_way)

    def abandon(self, error: Callable[[], Exception]) -> None:
        """Nobody who waits will be answered."""
        with self._news:
            waiting = [ticket for queue in self._queues for ticket in queue]
            self._queues.clear()
            self._thread = None
        for ticket in waiting:
            ticket.fail(error())

    def _taken(self, under_way: int) -> list[Ticket]:
        taken: list[Ticket] = []
        tokens = 0
        while self._queues and len(taken) + under_way < self._seats:
            queue = self._queues[0]
            tokens += len(queue[0].row.prompt) - queue[0].row.constant
            if under_way and taken and tokens > _BITE:
                break
            self._queues.popleft()
            ticket = queue.popleft()
            if queue:
                self._queues.append(queue)
            if not ticket.left:
                taken.append(ticket)
        return taken


def _work(scheduler: Scheduler) -> None:
    """What the thread does."""
    import torch

    rounds, new = scheduler.rounds(), list[Ticket]()
    error: Callable[[], Exception] | None = None
    try:
        with torch.inference_mode():
            while rounds is not None and (admitted := scheduler.admit(rounds.rows)) is not None:
                new = admitted
                rounds.add(new)
                rounds.step()
    except Exception as fault:  # noqa: BLE001  it is raised again where the answers are waited for
        error = partial(_broken, fault)
    if scheduler.closed:
        error = scheduler.closing
    if error is None:
        return
    if rounds is not None:
        rounds.fail(error)
    for ticket in new:
        if not ticket.future.done():
            ticket.fail(error())
    scheduler.abandon(error)


def _broken(fault: Exception) -> GenerationError:
    error = GenerationError(
        f"Expected the scheduler to go on, found that it failed ({first_line(fault)}); see the error it was "
        "raised from."
    )
    error.__cause__ = fault
    return error


@cache
def _watch() -> None:
    """Have every scheduler end with the interpreter, and begin anew in the child of a fork."""
    atexit.register(_end_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_renew_all)


def _end_all() -> None:
    """A thread that computes while the interpreter goes away would take it down."""
    alive = list(_ALIVE)
    for scheduler in alive:
        scheduler.close()
    for scheduler in alive:
        scheduler.end(5.0)


def _renew_all() -> None:
    for scheduler in list(_ALIVE):
        scheduler._renew()

"""`in_processes`: one function over many tasks, in this process or in several, results in order."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

from chatdoctor_hub.errors import DataError

__all__ = ["in_processes", "worker_count"]

_Result = TypeVar("_Result")
_AHEAD = 2  # tasks a worker that wait, or are done and wait for their turn


def worker_count(workers: int) -> int:
    """As many as asked for, or one a CPU core that this process may use for 0."""
    if workers:
        return workers
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def in_processes(
    workers: int, function: Callable[..., _Result], tasks: Iterable[tuple[Any, ...]]
) -> Iterator[_Result]:
    """`function(*task)` for each task, in the order of the tasks; few of them are held at a time.

    Processes are started anew ("spawn"), since a copy of this one would copy its threads' locks. They end
    with this process, however it ends.

    Args:
        workers: how many processes; 1 does the work in this one.
        function: that can be pickled, as must be the tasks and results.
        tasks: the arguments of each call.

    Raises:
        DataError: when a process was ended from outside.
    """
    if workers == 1:
        for task in tasks:
            yield function(*task)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start)
    waiting: deque[Future[_Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, *task))
            while len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            f"Expected {workers} processes to work to the end, found one that ended before; free some memory or "
            "use fewer workers (a script that starts them needs `if __name__ == '__main__':`)."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    """In a worker: Ctrl-C is for the process that started it, and so is the end of that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)

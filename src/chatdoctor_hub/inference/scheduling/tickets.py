"""`Ticket`: a request on its way through a scheduler, and the place where its answer goes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from chatdoctor_hub.inference.row import Row
from chatdoctor_hub.inference.types import ChatDelta, ChatReply

__all__ = ["Delivery", "Ticket"]

Delivery = ChatDelta | BaseException
"""What a stream is given: pieces of the answer, the last one with the finish reason, or an error."""


class Ticket:
    """A row, and who waits for it.

    The caller's side calls `wait` or takes `future`, and `leave` when it does not want the answer any more;
    the rest is the scheduler's.

    Args:
        row: what is to be answered.
        model: the name that the reply carries.
        key: which of the engine's models answers.

    Attributes:
        future: of the whole reply.
    """

    def __init__(self, row: Row, model: str, key: str = "") -> None:
        self.row, self.key = row, key
        self.future: Future[ChatReply] = Future()
        self._deliver: Callable[[Delivery], object] | None = None
        self._model = model

    def stream(self, deliver: Callable[[Delivery], object]) -> None:
        """Have each piece given to `deliver` as it comes, from the scheduler's thread; said before `submit`."""
        self._deliver = deliver
        self.row.piecewise = True

    @property
    def left(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.cancelled()

    def leave(self) -> None:
        """Do not want the answer any more: the row is given up before the next token."""
        self.future.cancel()

    def wait(self) -> ChatReply:
        """The whole answer. Whoever is interrupted while waiting has left."""
        try:
            return self.future.result()
        except BaseException:
            self.leave()
            raise

    def push(self, delta: ChatDelta) -> None:
        """The row has got a token."""
        if delta.text or delta.reasoning or delta.tool_calls:
            self._give(delta)

    def finish(self) -> None:
        """The row has got its last token."""
        if self.future.set_running_or_notify_cancel():
            self._give(self.row.last_delta())
            self.future.set_result(self.row.reply(self._model))

    def fail(self, error: Exception) -> None:
        """The row cannot be answered, or not to its end."""
        if self.future.set_running_or_notify_cancel():
            self._give(error)
            self.future.set_exception(error)

    def _give(self, piece: Delivery) -> None:
        try:
            if self._deliver is not None:
                self._deliver(piece)
        except RuntimeError:
            # The event loop of the caller was closed before the stream.
            self.leave()

"""`Rounds`: all rows under way, a token for each of them in a round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from chatdoctor_hub.errors import ChatDoctorError, GenerationError
from chatdoctor_hub.inference.scheduling.caches import can_be_begun, can_join
from chatdoctor_hub.inference.scheduling.groups import Group
from chatdoctor_hub.inference.scheduling.passes import Forwards, cost_of_a_pass, parted
from chatdoctor_hub.inference.scheduling.prefixes import PrefixCache
from chatdoctor_hub.inference.scheduling.tickets import Ticket
from chatdoctor_hub.models import first_line

__all__ = ["Rounds"]

# Groups that cannot be joined are stepped one by one to the end of their answers: rather much padding than that.
_APART = 64


class Rounds:
    """The groups under way; those whose caches can be joined become one, the others take turns.

    Args:
        forwards: what computes.
        prefixes: what is known of the beginnings of prompts.
        padding: any token id; what it stands for is hidden.
        spell: the text of a token, for log-probabilities.
        name: of the model, for messages.
    """

    def __init__(
        self, forwards: Forwards, prefixes: PrefixCache, padding: int, spell: Callable[[int], str], name: str
    ) -> None:
        self._forwards, self._prefixes = forwards, prefixes
        self._padding, self._spell, self._name = padding, spell, name
        self._groups: list[Group] = []

    @property
    def rows(self) -> int:
        """How many are not finished."""
        return sum(group.rows for group in self._groups)

    def add(self, tickets: Sequence[Ticket]) -> None:
        """New rows: their prompts are read, and they get their first token."""
        alike: dict[tuple[str, int, tuple[int, ...]], list[Ticket]] = defaultdict(list)
        for ticket in tickets:
            known = self._known(ticket)
            alike[ticket.key, known, tuple(ticket.row.prompt[:known])].append(ticket)
        for (key, known, _), same in alike.items():
            for part, shared in self._parts(key, same, known):
                try:
                    self._groups.append(self._group(key, part, shared))
                except Exception as error:  # noqa: BLE001  it is raised again where the answers are waited for
                    for ticket in part:
                        ticket.fail(self._failure(error))
                else:
                    self._step(self._groups[-1])
        self._tidy()

    def step(self) -> None:
        """One token for every row under way."""
        for group in self._groups:
            self._step(group)
        self._tidy()

    def fail(self, error: Callable[[], Exception]) -> None:
        """No row can go on."""
        for group in self._groups:
            group.fail(error)
        self._groups = []

    def _known(self, ticket: Ticket) -> int:
        """How many of a prompt's first tokens need not be read."""
        known = min(ticket.row.constant, len(ticket.row.prompt) - 1)
        return known if self._prefixes.serves(ticket.key, known) else 0

    def _parts(self, key: str, tickets: Sequence[Ticket], known: int) -> Iterator[tuple[list[Ticket], int]]:
        """The rows to read in one pass, and how many tokens they begin with that are known.

        Between a beginning and rests of several lengths there is padding. A model that counts columns would
        take it for distance, so its rows have a common beginning only where the rests are of one length.
        """
        forward = self._forwards.of(key)
        empty = forward.empty_cache()
        lengths = [len(ticket.row.prompt) for ticket in tickets]
        if not (can_be_begun(empty) and forward.is_told_positions) and len(set(lengths)) > 1:
            if self._forwards.opening(key) is not None:
                for length in sorted(set(lengths)):
                    yield [ticket for ticket in tickets if len(ticket.row.prompt) == length], known
                return
            known = 0
        cost = cost_of_a_pass(forward.device) * (1 if can_join(empty) else _APART)
        for places in parted([length - known for length in lengths], cost):
            yield [tickets[place] for place in places], known

    def _group(self, key: str, tickets: Sequence[Ticket], known: int) -> Group:
        begun = self._prefixes.beginning(key, tickets[0].row.prompt[:known], len(tickets))
        return Group(self._forwards.of(key), tickets, self._padding, self._spell, begun, known)

    def _step(self, group: Group) -> None:
        try:
            group.step()
        except Exception as error:  # noqa: BLE001  it is raised again where the answers are waited for
            failed = error
            group.fail(lambda: self._failure(failed))

    def _tidy(self) -> None:
        """Forget groups that are done, and join those that can be."""
        kept: list[Group] = []
        for group in self._groups:
            if not group.rows:
                continue
            for other in kept:
                if other.can_join(group):
                    other.join(group)
                    break
            else:
                kept.append(group)
        self._groups = kept

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, ChatDoctorError):
            return error
        failure = GenerationError(
            f"{self._name}: expected scores for the next token, found that the model failed "
            f"({first_line(error)}); see the error it was raised from."
        )
        failure.__cause__ = error
        return failure

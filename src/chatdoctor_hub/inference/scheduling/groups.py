"""`Group`: rows that are answered together, a forward pass a token for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chatdoctor_hub.inference.choosing import Chooser
from chatdoctor_hub.inference.scheduling.caches import bytes_of, can_join, close_gaps, cut, join
from chatdoctor_hub.inference.scheduling.passes import Forward
from chatdoctor_hub.inference.scheduling.tickets import Ticket
from chatdoctor_hub.inference.scheduling.tokens import write_tokens

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

__all__ = ["Group"]


class Group:
    """The rows of some tickets, in one padded cache.

    Rows end at the same column and are padded at the left; the mask and the position ids hide the padding, so a
    row's scores do not depend on its neighbours. A row that is finished, has failed or is not wanted any more
    leaves, its part of the cache with it, and so does padding that nobody needs any more.

    Args:
        forward: what computes.
        tickets: what to answer; at least one.
        padding: any token id; what it stands for is hidden.
        spell: the text of a token, for log-probabilities.
        begun: a cache whose rows begin with the same tokens, or None.
        known: how many of each prompt's first tokens are in it.
    """

    def __init__(
        self,
        forward: Forward,
        tickets: Sequence[Ticket],
        padding: int,
        spell: Callable[[int], str],
        begun: DynamicCache | None = None,
        known: int = 0,
    ) -> None:
        import torch

        self.tickets = list(tickets)
        self._forward, self._spell = forward, spell
        self._chooser: Chooser | None = None
        rests = [ticket.row.prompt[known:] for ticket in self.tickets]
        width = max(map(len, rests))
        self._begun = begun.get_seq_length() if begun is not None else 0
        # Columns of padding: between beginning and rest until the first pass is done, at the left from then on.
        self._gaps = [width - len(rest) for rest in rests]
        device = forward.device
        self._input = torch.tensor(
            [[padding] * gap + rest for gap, rest in zip(self._gaps, rests, strict=True)], device=device
        )
        real = (torch.arange(width) >= torch.tensor(self._gaps).unsqueeze(1)).long().to(device)
        self._mask = torch.cat([real.new_ones(len(rests), self._begun), real], dim=1)
        self._positions = (real.cumsum(dim=-1) - 1).clamp(min=0) + self._begun
        self._cache = begun if begun is not None else forward.empty_cache()

    @property
    def rows(self) -> int:
        """How many are not finished."""
        return len(self.tickets)

    def step(self) -> None:
        """One token for every row; what comes of it goes to the tickets.

        To be called in torch's inference mode.
        """
        if any(ticket.left for ticket in self.tickets):
            self._keep([place for place, ticket in enumerate(self.tickets) if not ticket.left])
        if not self.tickets:
            return
        logits, self._cache = self._forward(self._input, self._mask, self._positions, self._cache)
        if self._chooser is None:
            self._settle_in(logits)
        assert self._chooser is not None
        written = write_tokens([ticket.row for ticket in self.tickets], logits, self._chooser, self._spell)
        self._input = self._input.new_tensor([[token] for token, _ in written])
        self._mask = _widened(self._mask, 1)
        self._positions = self._positions[:, -1:] + 1
        self._keep([place for place, (_, what) in enumerate(written) if self._told(place, what)])

    def join(self, other: Group) -> None:
        """Take over the rows of another group of the same model, of which each row has got its first token."""
        import torch

        assert self._chooser is not None
        assert other._chooser is not None
        wider = self._mask.shape[1] - other._mask.shape[1]
        for group, more in ((self, -wider), (other, wider)):
            if more > 0:
                group._gaps = [gap + more for gap in group._gaps]
                group._mask = torch.nn.functional.pad(group._mask, (more, 0))
        join(self._cache, other._cache)
        self._chooser.join(other._chooser)
        self._input = torch.cat([self._input, other._input])
        self._mask = torch.cat([self._mask, other._mask])
        self._positions = torch.cat([self._positions, other._positions])
        self.tickets += other.tickets
        self._gaps += other._gaps

    def can_join(self, other: Group) -> bool:
        """Whether it is possible to become one with another group, and cheaper than to stay two.

        A pass reads all the weights, and the cache with its padding: so up to half of the rows' own columns may be
        padding, and more where that is little beside the weights.
        """
        if self._forward is not other._forward or not (can_join(self._cache) and can_join(other._cache)):
            return False
        both = (self, other)
        padded = max(group._mask.shape[1] for group in both) * (self.rows + other.rows)
        own = sum(group._mask.shape[1] * group.rows - sum(group._gaps) for group in both)
        if padded <= 1.5 * own:
            return True
        column = bytes_of(self._cache) / (self.rows * self._mask.shape[1])
        return (padded - own) * column <= self._forward.weights / 8

    def fail(self, error: Callable[[], Exception]) -> None:
        """No row can go on; each ticket gets an error of its own."""
        for ticket in self.tickets:
            ticket.fail(error())
        self.tickets = []

    def _settle_in(self, logits: torch.Tensor) -> None:
        """After the first pass."""
        if self._begun and any(self._gaps):
            close_gaps(self._cache, self._begun, self._gaps)
            self._mask = self._mask.sort(dim=1).values
        rows = [ticket.row for ticket in self.tickets]
        self._chooser = Chooser(
            [row.sampling for row in rows], [row.prompt for row in rows], logits.shape[-1], logits.device
        )

    def _told(self, place: int, what: object) -> bool:
        """Tell a ticket what came; whether its row goes on."""
        ticket = self.tickets[place]
        if isinstance(what, Exception):
            ticket.fail(what)
            return False
        ticket.push(what)  # type: ignore[arg-type]
        if ticket.row.finish_reason is not None:
            ticket.finish()
            return False
        return True

    def _keep(self, places: Sequence[int]) -> None:
        """Go on with these rows only."""
        import torch

        if len(places) == len(self.tickets):
            return
        self.tickets = [self.tickets[place] for place in places]
        self._gaps = [self._gaps[place] for place in places]
        if not places:
            return
        rows = torch.tensor(places, device=self._mask.device)
        self._cache.reorder_cache(rows)
        self._input, self._mask, self._positions = self._input[rows], self._mask[rows], self._positions[rows]
        if self._chooser is not None:
            self._chooser.keep(places)
            self._narrow()

    def _narrow(self) -> None:
        """Drop the columns that are padding in every row."""
        spare = min(self._gaps)
        if spare and can_join(self._cache):
            cut(self._cache, spare)
            self._mask = self._mask[:, spare:]
            self._gaps = [gap - spare for gap in self._gaps]


def _widened(mask: torch.Tensor, columns: int) -> torch.Tensor:
    from torch.nn.functional import pad

    return pad(mask, (0, columns), value=1)

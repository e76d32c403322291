"""`Encoded`: one dialogue as token ids and the exact mask of what is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Encoded"]


@dataclass(frozen=True, eq=False)
class Encoded:
    """One dialogue as tokens.

    Args:
        ids: token ids, length L; a tuple, or an int32 array where they lie in a file.
        labelled: L booleans; True where the token is learned: the doctor's words and the end of the turn.
    """

    ids: Sequence[int]
    labelled: Sequence[bool]

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Encoded):
            return NotImplemented
        return list(self.ids) == list(other.ids) and list(self.labelled) == list(other.labelled)

    def __hash__(self) -> int:
        return hash(tuple(self.ids))

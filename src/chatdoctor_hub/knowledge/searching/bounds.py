"""The most that each row of a large table can score for a question, for all rows at once.

Python's whole numbers serve as bit sets: bit r stands for row r, and one operation on two numbers works on all
rows at the speed of C (12.5 kB for 100,000 rows). The bounds are kept bit-sliced: plane j holds bit j of the
bound of every row (O'Neil and Quass, Improved query performance with variant indexes, 1997, section 3), and
adding a constant to the rows of a set takes a few operations a plane.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatdoctor_hub.knowledge.searching.weighing import Posting

__all__ = ["Bounds", "levels_of", "row_set", "rows_of"]

_LEVELS = 2  # into which the weights of a long posting are parted
_LONG = 200


class Bounds:
    """Upper bounds of the scores of all rows, in units so large that all fit a few bits.

    Args:
        most: the sum of all that will be added.
        terms: how many postings will be added.
    """

    def __init__(self, most: int, terms: int) -> None:
        self.unit = max(1, most // 400)
        # Each level of a posting is rounded up.
        self._planes = [0] * (most // self.unit + 1 + _LEVELS * terms).bit_length()

    def add(self, posting: Posting) -> None:
        """Add what a posting gives to its rows, rounded up."""
        before = 0
        for rows, weight in levels_of(posting):
            steps = -(-weight // self.unit)
            self._add(rows, steps - before)
            before = steps

    def _add(self, rows: int, steps: int) -> None:
        carry = 0
        planes = self._planes
        for number, plane in enumerate(planes):
            if steps & 1:
                either = plane ^ rows
                planes[number] = either ^ carry
                carry = (plane & rows) | (carry & either)
            elif carry:
                planes[number] = plane ^ carry
                carry &= plane
            elif not steps:
                return
            steps >>= 1

    def at_least(self, score: int) -> int:
        """The set of the rows that may have this score or a higher one."""
        steps = -(-score // self.unit)
        if steps >> len(self._planes):
            return 0
        above, equal = 0, -1
        for number in range(len(self._planes) - 1, -1, -1):
            plane = self._planes[number]
            if steps >> number & 1:
                equal &= plane
            else:
                above |= equal & plane
                equal &= ~plane
        return above | equal

    def best(self, wanted: int, among: int) -> int:
        """The smallest set of rows with the highest bounds that has `wanted` rows, if there are so many."""
        low, high = 0, (1 << len(self._planes)) - 1
        found = among
        while low < high:
            middle = (low + high + 1) // 2
            some = self.at_least(middle * self.unit) & among
            if some.bit_count() >= wanted:
                low, found = middle, some
            else:
                high = middle - 1
        return found


def levels_of(posting: Posting) -> tuple[tuple[int, int], ...]:
    """Sets of rows, each within the one before, with the most that a row in it but not in the next one gets."""
    if not posting.levels:
        posting.levels = _levels(posting.rows, posting.weights, posting.top)
    return posting.levels


def _levels(rows: Sequence[int], weights: Sequence[int], top: int) -> tuple[tuple[int, int], ...]:
    if len(rows) < _LONG or (least := min(weights)) == top:
        return ((row_set(rows), top),)
    middle = (least + top) // 2
    heavy = [row for row, weight in zip(rows, weights, strict=True) if weight > middle]
    light = max(weight for weight in weights if weight <= middle)
    return ((row_set(rows), light), (row_set(heavy), top))


def row_set(rows: Sequence[int]) -> int:
    """The bit set of some rows, which are ascending."""
    if not rows:
        return 0
    digits = bytearray(b"0") * (rows[-1] + 1)
    for row in rows:
        digits[row] = 49
    digits.reverse()
    return int(digits, 2)


def rows_of(rows: int) -> Iterator[int]:
    """The rows of a bit set, ascending."""
    digits = bin(rows)[:1:-1]
    at = digits.find("1")
    while at >= 0:
        yield at
        at = digits.find("1", at + 1)

"""`Matcher`: one answer against its grammar, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.grammar.vocabulary import Vocabulary

__all__ = ["Matcher"]

# What ends things, dearest first: within a string, and outside.
_WITHIN = ('"', "a", "0", " ", "-", "@", ".", ":", "/")
_OUTSIDE = ("}", "]", '"', "0", "1", "n", "t", "f", "{", "[", ",", ":", " ", "-")


class Matcher:
    """Where an answer is in its grammar.

    Args:
        inner: llguidance's matcher.
        vocabulary: of the model.
        needed: names of properties that objects must have somewhere; they lead to an end sooner than others.
    """

    def __init__(self, inner: Any, vocabulary: Vocabulary, needed: Sequence[str] = ()) -> None:
        self._inner = inner
        self._vocabulary = vocabulary
        self._needed = tuple(needed)
        self._quoted = _Quotes()

    @property
    def words(self) -> int:
        """Numbers of 32 bits that a mask takes."""
        return -(-self._vocabulary.size // 32)

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end the model's turn."""
        return self._vocabulary.ends

    @property
    def complete(self) -> bool:
        """Whether the answer may end here."""
        return bool(self._inner.is_accepting())

    @property
    def stopped(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._inner.is_stopped())

    def mask(self, place: int) -> None:
        """Write which tokens may come next, a bit each, lowest first, to `words` numbers from a memory address.

        Raises:
            GenerationError: when no token may.
        """
        self._inner.unsafe_compute_mask_ptr(place, self.words * 4)
        self._check()

    def accept(self, token: int) -> None:
        """Go on by a token.

        Raises:
            GenerationError: when the grammar does not allow it here.
        """
        self._inner.consume_token(token)
        self._check()
        if token not in self.ends:
            self._quoted.read(self._vocabulary.bytes_of(token))

    def allows(self, token: int) -> bool:
        """Whether a token may come next."""
        return bool(self._inner.validate_tokens([token]))

    def ending(self, most: int, first: int | None = None) -> list[int] | None:
        """A short way to an end from here; the matcher stays where it is.

        Not always the shortest: at each step what closes most is taken.

        Args:
            most: its length, in tokens.
            first: the token that it must begin with.

        Returns:
            The tokens, or None where no way of that length was found.
        """
        ahead = Matcher(self._inner.deep_copy(), self._vocabulary, self._needed)
        ahead._quoted = self._quoted.copy()
        way: list[int] = []
        steps = [] if first is None else [first]
        while len(way) <= most:
            if not steps and ahead.complete:
                return way
            for token in steps or ahead._closing():
                if token in self.ends or not ahead._inner.consume_token(token):
                    return None
                ahead._quoted.read(self._vocabulary.bytes_of(token))
                way.append(token)
            steps = []
        return None

    def _closing(self) -> Sequence[int]:
        """The tokens that get nearest to an end: what must come, or what closes most."""
        forced = self._inner.compute_ff_tokens()
        if forced and self._inner.validate_tokens(forced) == len(forced):
            return list(forced)
        for text in (*self._continued(), *_WITHIN) if self._quoted.open else _OUTSIDE:
            token = self._vocabulary.single(text)
            if token is not None and self.allows(token):
                return [token]
        allowed = _set_bits(bytes(self._inner.compute_bitmask()))
        # Where nothing may come, the end token cannot either: it stands for having failed.
        return [next((token for token in allowed if token not in self.ends), min(self.ends, default=0))]

    def _continued(self) -> Iterator[str]:
        """The next characters of needed names that begin as the string that is being written."""
        begun = self._quoted.text
        for name in self._needed:
            if name.startswith(begun) and len(name) > len(begun):
                yield name[len(begun)]

    def _check(self) -> None:
        if self._inner.is_error():
            # llguidance's own words may hold some of the answer's.
            raise GenerationError(
                "Expected a token that the grammar of the answer allows, found none in the vocabulary; ask for a "
                "simpler schema, or use a model whose tokens can write it."
            )


class _Quotes:
    """Whether a JSON text stands within a string, and what of it is written."""

    def __init__(self) -> None:
        self.open = False
        self._escaped = False
        self._bytes = b""

    @property
    def text(self) -> str:
        """What is written of the string."""
        return self._bytes.decode("utf-8", "replace")

    def read(self, written: bytes) -> None:
        for at, byte in enumerate(written):
            if self._escaped:
                self._escaped = False
            elif byte == 0x22:
                self.open, self._bytes = not self.open, b""
                continue
            elif byte == 0x5C and self.open:
                self._escaped = True
            if self.open:
                self._bytes += written[at : at + 1]

    def copy(self) -> _Quotes:
        other = _Quotes()
        other.open, other._escaped, other._bytes = self.open, self._escaped, self._bytes
        return other


def _set_bits(bits: bytes) -> Iterator[int]:
    return (at * 8 + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1)

"""`RoomyLayer`: keys and values with room for the tokens to come. Imported only where transformers is known to be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import MissingExtraError

try:
    from transformers.cache_utils import DynamicLayer
except ImportError:
    raise MissingExtraError("transformers", "local") from None

if TYPE_CHECKING:
    import torch

__all__ = ["RoomyLayer"]

# Tokens that there is room for at least, and as a share of those there are.
_ROOM = 32
_SHARE = 8


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A `DynamicLayer` that does not copy all it holds for each new token.

    Keys and values are the first columns of longer tensors, (rows, heads, columns, width), into which new ones are
    written. Whoever puts other tensors in their place need not know: these are moved once, with the next token.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rooms: list[torch.Tensor | None] = [None, None]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add columns; returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._added(0, self.keys, key_states)
        self.values = self._added(1, self.values, value_states)
        return self.keys, self.values

    def own(self) -> None:
        """Take no more memory than what it holds needs."""
        self.keys, self.values = self.keys.clone(), self.values.clone()
        self._rooms = [None, None]

    def _added(self, which: int, held: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        used = held.shape[2] if held.numel() else 0
        columns = used + new.shape[2]
        room = self._rooms[which]
        if room is None or room.shape[2] < columns or (used and not _begins(room, held)):
            rows, heads, _, width = new.shape
            room = new.new_empty(rows, heads, columns + max(_ROOM, columns // _SHARE), width)
            if used:
                room[:, :, :used] = held
            self._rooms[which] = room
        room[:, :, used:columns] = new
        return room[:, :, :columns]


def _begins(room: torch.Tensor, held: torch.Tensor) -> bool:
    """Whether what is held are the first columns of the room."""
    return (
        held.data_ptr() == room.data_ptr()
        and held.shape[0] == room.shape[0]
        and held.stride() == room.stride()
    )

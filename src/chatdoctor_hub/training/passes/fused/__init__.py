"""Layers whose forward and backward passes are written out by hand, for adapters on a frozen base.

Its modules need torch, and are imported where they are used.
"""

from __future__ import annotations

__all__: list[str] = []

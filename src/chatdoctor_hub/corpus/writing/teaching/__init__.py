"""Asking a teacher model, and checking what it answers."""

__all__: list[str] = []

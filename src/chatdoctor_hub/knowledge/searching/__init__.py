"""One ranking of diseases for a patient's words, in memory or in an index file."""

__all__: list[str] = []

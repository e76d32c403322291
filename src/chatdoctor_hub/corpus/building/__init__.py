"""From sources to a corpus folder: planned, cleaned in parts, decided by digests, laid out in shards."""

__all__: list[str] = []

"""Reading disease tables: CSV in ChatDoctor's layouts, Parquet, JSONL, from the Hub; what is mended and what is told."""

__all__: list[str] = []

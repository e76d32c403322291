"""What single sections of a card say, from the records."""

from chatdoctor_hub.release.sections.measurements import (
    SafetyRow,
    check_metrics,
    course_of,
    others_of,
    safety_counts,
    safety_rows,
)
from chatdoctor_hub.release.sections.provenance import describe_data, read_corpus_file

__all__ = [
    "SafetyRow",
    "check_metrics",
    "course_of",
    "describe_data",
    "others_of",
    "read_corpus_file",
    "safety_counts",
    "safety_rows",
]

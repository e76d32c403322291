"""What single sections of a card say, from the records."""

from chatdoctor_hub.release.sections.measurements import (
    SafetyRow,
    check_metrics,
    course_of,
    others_of,
    safety_counts,
    safety_rows,
)
from chatdoctor_hub.release.sections.provenance import (
    corpus_description,
    deidentification_of,
    languages_of,
    read_corpus_file,
    sources_of,
)

__all__ = [
    "SafetyRow",
    "check_metrics",
    "corpus_description",
    "course_of",
    "deidentification_of",
    "languages_of",
    "others_of",
    "read_corpus_file",
    "safety_counts",
    "safety_rows",
    "sources_of",
]

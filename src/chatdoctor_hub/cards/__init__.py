"""Cards of models and data sets: templates, blocks that are generated, checks, and the table of licences."""

from chatdoctor_hub.cards.blocks import (
    Part,
    header_of,
    header_text,
    human_text,
    keep_edits,
    parts_of,
    split_header,
)
from chatdoctor_hub.cards.checking import NOTICE, card_faults, field_faults
from chatdoctor_hub.cards.claims import Finding, find_claims, find_placeholders, sections_of
from chatdoctor_hub.cards.licences import Licence, conflict_between, find_licence, near_licences
from chatdoctor_hub.cards.rendering import card_template_text, fill_card

__all__ = [
    "NOTICE",
    "Finding",
    "Licence",
    "Part",
    "card_faults",
    "card_template_text",
    "conflict_between",
    "field_faults",
    "fill_card",
    "find_claims",
    "find_licence",
    "find_placeholders",
    "header_of",
    "header_text",
    "human_text",
    "keep_edits",
    "near_licences",
    "parts_of",
    "sections_of",
    "split_header",
]

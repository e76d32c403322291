"""`dialogue_from_record`: one record of a file as a `Dialogue`, its words repaired on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chatdoctor_hub.corpus.reading.layouts import Layout, layout_of, layout_of_list
from chatdoctor_hub.corpus.reading.records import json_kind
from chatdoctor_hub.corpus.reading.remarks import asks_as_the_doctor, holds_a_request, without_remark
from chatdoctor_hub.corpus.reading.repair import (
    NO_DOCTOR,
    UnknownLayoutError,
    UnusableRecordError,
    repair_words,
)
from chatdoctor_hub.corpus.reading.speeches import Turns
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError

__all__ = ["dialogue_from_record", "own_id"]

_ID_KEYS = ("patient_id", "dialogue_id", "dialog_id", "conversation_id", "id")
_LONGEST_ID = 200
_REMARKS_CUT = "remarks_cut"


def dialogue_from_record(
    record: Any,
    number: str,
    source: str,
    repairs: set[str],
    layouts: tuple[Layout, ...] = (),
    answer: str = "icliniq",
) -> Dialogue:
    """Make a record of any known layout into a dialogue.

    Args:
        record: a JSON value.
        number: becomes the dialogue's `id`.
        source: where the record comes from.
        repairs: receives the kind of each repair that was made.
        layouts: those it may have; none tells it from the record's keys.
        answer: whose, where a record has several.

    Raises:
        UnusableRecordError: with the reason.
    """
    turns = _layout(record, layouts).read(record, repairs, answer)
    roles = [role for role, _ in turns]
    if "doctor" not in roles:
        raise UnusableRecordError(NO_DOCTOR)
    if "patient" not in roles:
        raise UnusableRecordError("no patient turn")
    turns = _without_generators_words(turns, roles.index("patient"), repairs)
    topic = record.get("topic") if isinstance(record, Mapping) else None
    try:
        return Dialogue(
            turns=tuple([Turn(role=role, content=words) for role, words in turns]),  # type: ignore[arg-type]
            id=number,
            source=source,
            topic=repair_words(topic, set()) if isinstance(topic, str) else "",
        )
    except DataFormatError:
        raise UnusableRecordError("a system turn that is not the first turn") from None


def _layout(record: Any, layouts: tuple[Layout, ...]) -> Layout:
    if isinstance(record, Mapping):
        keys = tuple(record)
        found = layout_of(keys)
        if layouts:
            found = next((layout for layout in layouts if layout.keys and layout.fits(keys)), None)
        if not found and layouts:
            shown = " or ".join(layout.shown for layout in layouts)
            raise UnknownLayoutError(f"expected {shown}, found a record of another layout")
        if not found:
            raise UnknownLayoutError("neither 'messages' nor 'input' and 'output' in it")
        return found
    of_list = layout_of_list()
    if layouts and of_list not in layouts:
        raise UnknownLayoutError(f"expected a JSON object, found {json_kind(record)}")
    if isinstance(record, list) and record and isinstance(record[0], (str, Mapping)):
        return of_list
    raise UnknownLayoutError(f"expected a JSON object, found {json_kind(record)}")


def _without_generators_words(turns: Turns, first: int, repairs: set[str]) -> Turns:
    if asks_as_the_doctor(turns[first][1]):
        raise UnusableRecordError("the doctor speaks in the patient's place")
    kept: Turns = []
    for role, words in turns:
        if role != "system" and holds_a_request(words):
            raise UnusableRecordError("the request to the model that wrote the dialogue stands in it")
        if role == "doctor" and (shorter := without_remark(words)) != words:
            repairs.add(_REMARKS_CUT)
            if not shorter:
                raise UnusableRecordError(f"{NO_DOCTOR}: only a remark on the dialogue itself")
            words = shorter
        kept.append((role, words))
    return kept


def own_id(record: Any, key: str = "") -> str | None:
    """The patient's or dialogue's id that the record has, "" where that is null, NaN or empty, else None.

    Args:
        record: a JSON value.
        key: the name under which the record stands in its file, if it does.
    """
    if key:
        return _plain(key)
    if isinstance(record, Mapping):
        for name in _ID_KEYS:
            if name in record:
                return _plain(record[name])
    return None


def _plain(value: Any) -> str:
    if isinstance(value, float):
        value = (int(value) if value.is_integer() else value) if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    if isinstance(value, int) and value.bit_length() > 3 * _LONGEST_ID:
        return ""
    text = repair_words(str(value)[: _LONGEST_ID + 1], set())
    return "" if len(text) > _LONGEST_ID or text.casefold() in ("nan", "none", "null") else text

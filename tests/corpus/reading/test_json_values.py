"""JSON that is decoded on a window against JSON that is decoded whole."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus.reading import json_values
from chatdoctor_hub.corpus.reading.json_values import json_items, json_lines
from chatdoctor_hub.corpus.reading.records import MAX_RECORD, Record

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
SPACE = st.sampled_from(["", " ", "\r\n", "\n \t"])


@pytest.fixture(params=[1, 3, 17, 1 << 18])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The size of the pieces in which a file is read."""
    monkeypatch.setattr(json_values, "_CHUNK", request.param)
    return int(request.param)


def items(text: str | bytes) -> list[Record]:
    return list(
        json_items(io.BytesIO(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")))
    )


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_an_array_in_pieces_is_the_array(data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES, max_size=6))
    ascii_only = data.draw(st.booleans())
    gap = data.draw(SPACE)
    dumped = [json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for value in values]
    try:
        b"".join(dumped).decode()
    except UnicodeDecodeError:
        return  # a lone surrogate is no UTF-8; another test has it
    edge = gap.encode()
    text = edge + b"[" + edge + (edge + b"," + edge).join(dumped) + edge + b"]" + edge
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "_CHUNK", data.draw(st.integers(1, 40)))
        found = items(text)
    assert [(record.number, record.value, record.fault) for record in found] == [
        (number, value, None) for number, value in enumerate(values, start=1)
    ]


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=5), st.integers(1, 40)
)
def test_an_object_in_pieces_is_the_object(members: dict[str, Any], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "_CHUNK", size)
        found = items(json.dumps(members))
    assert [(record.key, record.value) for record in found] == list(members.items())


@settings(deadline=None, max_examples=80)
@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_a_cut_array_gives_what_is_whole_and_tells_the_cut(values: list[Any], data: st.DataObject) -> None:
    text = json.dumps(values)
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "_CHUNK", data.draw(st.integers(1, 40)))
        found = items(text[:cut])
    *whole, last = found
    assert all(record.fault is None for record in whole)
    # A number that is cut is a number still, so the last one may be another.
    assert [record.value for record in whole][:-1] == values[: len(whole)][:-1]
    assert last.fault is not None
    assert last.fault.kind == "json"
    assert last.number == len(found)


@pytest.mark.parametrize(
    ("text", "values", "where"),
    [
        ("[1, 2", [1, 2], "line 1, column 6"),
        ('[{"a": 1}, {"a": ', [{"a": 1}], "line 1, column 18"),
        ("[1,\n 2,\n oops, 3]", [1, 2], "line 3, column 2"),
        ("[1, 2,]", [1, 2], "line 1, column 7"),
        ("[1 2]", [1], "line 1, column 4"),
        ("[1] 2", [1], "line 1, column 5"),
        ("[1}", [1], "line 1, column 3"),
        ('["a\nb"]', [], "line 1, column 4"),
        ('{"a": 1, b: 2}', [1], "line 1, column 10"),
        ('{"a" 1}', [], "line 1, column 6"),
        ("[", [], "line 1, column 2"),
        ("", [], "line 1, column 1"),
        ("\x0c[1]", [], "line 1, column 1"),
    ],
)
def test_where_an_array_ends_to_be_one(chunk: int, text: str, values: list[Any], where: str) -> None:
    *whole, last = items(text)
    assert [record.value for record in whole] == values
    assert last.fault is not None
    assert last.fault.where == f"a fault at {where}"
    assert last.fault.reason.endswith("was not read on")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("[" * 100_000 + "]" * 100_000, "brackets nested too deeply"),
        ("1" * 5000, "a number of too many digits"),
        (
            '{"a": "' + "x" * MAX_RECORD + '", "b": ["\\"]}", {"c": 1}]}',
            "expected at most 8,388,608 characters",
        ),
        ('"' + '\\"' * (MAX_RECORD // 2 + 1) + '"', "expected at most 8,388,608 characters"),
    ],
    ids=["deep", "digits", "long", "escapes"],
)
def test_a_value_that_cannot_be_held_costs_itself_alone(bad: str, reason: str) -> None:
    first, second, third = items(f'[{{"a": 1}}, {bad}, {{"b": "]"}}]')
    assert (first.value, third.value) == ({"a": 1}, {"b": "]"})
    assert (second.number, second.value) == (2, None)
    assert second.fault is not None
    assert second.fault.reason.startswith(reason)


def test_a_value_of_the_greatest_length_is_read() -> None:
    value = "x" * (MAX_RECORD - 2)
    assert [record.value for record in items(json.dumps([1, value, value, 2]))] == [1, value, value, 2]


def test_bytes_that_are_no_utf_8_cost_their_record(chunk: int) -> None:
    first, second, third = items('[{"a": "é"}, {"a": "'.encode() + b'5 \xb5g"}, {"a": "' + '𝄞"}]'.encode())
    assert (first.value, third.value) == ({"a": "é"}, {"a": "𝄞"})
    assert second.fault is not None
    assert (second.fault.kind, second.fault.where) == ("encoding", "another byte at offset 23")


def test_an_escaped_surrogate_is_no_fault(chunk: int) -> None:
    assert [record.value for record in items(r'["\ud83d\ude00", "\udc80"]')] == ["\U0001f600", "\udc80"]


def test_lines_that_cannot_be_read_cost_themselves() -> None:
    lines = [
        b'{"a": 1}',
        b"",
        b'{"a": "5 \xb5g"}',
        b"\xef\xbb\xbf[2]\r",
        b"x" * (MAX_RECORD + 5),
        b"3",
        b"  ",
        b"{",
    ]
    found = list(json_lines(io.BytesIO(b"\n".join(lines))))
    assert [(record.number, record.line, record.value) for record in found] == [
        (1, 1, {"a": 1}),
        (2, 3, None),
        (3, 4, [2]),
        (4, 5, None),
        (5, 6, 3),
        (6, 8, None),
    ]
    reasons = [record.fault.reason for record in found if record.fault]
    assert reasons == [
        "expected text in UTF-8, found another byte at offset 19",
        "expected at most 8,388,608 characters in a record, found more",
        "not JSON from column 2 on",
    ]


class Generated(io.RawIOBase):
    """A long array that is made while it is read."""

    def __init__(self, size: int) -> None:
        self._piece = b'{"input": "' + b"words " * 100 + b'"},'
        self._left = size // len(self._piece)
        self._rest = b"["

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self._rest) < len(buffer) and self._left:
            count = min(self._left, 1000)
            self._rest += self._piece * count
            self._left -= count
            if not self._left:
                self._rest = self._rest[:-1] + b"]"
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def test_memory_does_not_grow_with_the_array() -> None:
    tracemalloc.start()
    try:
        count = sum(record.fault is None for record in json_items(io.BufferedReader(Generated(40_000_000))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 40_000_000 // 614
    assert peak < 12_000_000

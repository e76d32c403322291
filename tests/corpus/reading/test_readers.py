"""`read_dialogues`: layouts, counts, faults, and whatever bytes a file may hold."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus import RecordProblem, read_dialogues
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataError, DataFormatError, DataNotFoundError

ASK, ANSWER = "My tooth aches.", "See a dentist today."
ALPACA = {"instruction": "", "input": ASK, "output": ANSWER}
MESSAGES = {"messages": [{"role": "user", "content": ASK}, {"role": "assistant", "content": ANSWER}]}


def write(folder: Path, content: Any, name: str = "d.json") -> Path:
    file = folder / name
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    file.write_bytes(content)
    return file


def turns(dialogue: Dialogue) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in dialogue.turns]


def test_the_published_dialogues(shared_data: Path) -> None:
    file = shared_data / "chatdoctor" / "genmedgpt_4000.json"
    records = json.loads(file.read_bytes())
    read = read_dialogues(file)
    assert [(problem.record, problem.reason) for problem in read.problems] == [
        (1761, "the request to the model that wrote the dialogue stands in it"),
        (2844, "the doctor speaks in the patient's place"),
    ]
    assert (len(read), read.source) == (3998, "genmedgpt_4000.json")
    assert read.repairs == {"leaked_turns_cut": 106, "outer_white_space": 597, "remarks_cut": 21}
    leaks = remarks = 0
    for dialogue in read:
        # In all 106 answers that leak, the label occurs once: the doctor's words are those before it.
        record = records[int(dialogue.id) - 1]
        answer, _, leak = record["output"].partition("Patient:")
        (patient, asked), (doctor, said) = turns(dialogue)
        assert (patient, asked, doctor) == ("patient", record["input"].strip(), "doctor")
        remark = answer.strip().removeprefix(said)
        assert not remark or re.match(r"\s*\(?(Please n|N)ote\b", remark)
        leaks += bool(leak)
        remarks += bool(remark)
    assert (leaks, remarks) == (106, 21)


def test_the_constant_instruction_is_no_turn(shared_data: Path, tmp_path: Path) -> None:
    records = json.loads((shared_data / "chatdoctor" / "genmedgpt_4000.json").read_bytes())
    instruction = records[0]["instruction"]
    read = read_dialogues(
        write(
            tmp_path,
            [{**ALPACA, "instruction": instruction}, {**ALPACA, "instruction": instruction, "input": ""}],
        )
    )
    assert turns(read[0]) == [("patient", ASK), ("doctor", ANSWER)]
    assert read.problems == (RecordProblem(2, None, "no patient turn"),)


@pytest.mark.parametrize(
    "record",
    [ALPACA, MESSAGES, {**ALPACA, "instruction": ASK, "input": ""}, {"instruction": ASK, "output": ANSWER}],
)
@pytest.mark.parametrize("layout", ["array", "indented", "lines", "crlf", "bom", "object"])
def test_the_layout_is_told_from_the_content(tmp_path: Path, record: dict[str, Any], layout: str) -> None:
    text = {
        "array": json.dumps([record]),
        "indented": "\n" + json.dumps([record], indent=2).replace("\n", "\r\n"),
        "lines": "\n" + json.dumps(record) + "\n\n",
        "crlf": json.dumps(record) + "\r\n" + json.dumps(record) + "\r\n",
        "bom": "\ufeff" + json.dumps([record]),
        "object": json.dumps(record, indent=2),
    }[layout]
    for name in ("a.json", "a.jsonl", "a"):
        read = read_dialogues(write(tmp_path, text, name))
        assert len(read) == (2 if layout == "crlf" else 1)
        assert turns(read[0]) == [("patient", ASK), ("doctor", ANSWER)]
        assert (read.problems, read.repairs, read.source) == ((), {}, name)


def test_another_instruction_becomes_a_system_turn(tmp_path: Path) -> None:
    read = read_dialogues(write(tmp_path, [{**ALPACA, "instruction": "Be brief."}]))
    assert turns(read[0])[0] == ("system", "Be brief.")


def test_a_line_separator_within_a_string_ends_no_line(tmp_path: Path) -> None:
    line = json.dumps({"input": "a\u2028b\x85c", "output": ANSWER}, ensure_ascii=False)
    read = read_dialogues(write(tmp_path, f"{line}\n{json.dumps(ALPACA)}"))
    assert [item.turns[0].content for item in read] == ["a\u2028b\x85c", ASK]


def test_every_record_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    lines = [
        json.dumps(ALPACA),
        "",
        "{oops",
        json.dumps({"input": ASK}),
        "[" * 100_000,
        "7",
        "1" * 5000,
        json.dumps(MESSAGES),
    ]
    read = read_dialogues(write(tmp_path, "\n".join(lines)))
    assert [item.id for item in read] == ["1", "7"]
    assert [(problem.record, problem.line) for problem in read.problems] == [
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 6),
        (6, 7),
    ]
    assert [problem.reason for problem in read.problems][:2] == [
        "not JSON from column 2 on",
        "no doctor turn: 'output' is empty",
    ]
    assert str(read.problems[0]) == "record 2 (line 3): not JSON from column 2 on"


def test_a_file_is_a_frozen_sequence(tmp_path: Path) -> None:
    read = read_dialogues(write(tmp_path, [ALPACA, {**MESSAGES, "topic": "toothache"}, {"output": 1}]))
    assert list(read) == [read[0], read[1]]
    assert read[:1] == (read[0],)
    assert read[-1].topic == "toothache"
    assert read[0] in read
    with pytest.raises(AttributeError):
        read.source = "x"  # type: ignore[misc]
    assert read == read_dialogues(tmp_path / "d.json")
    assert hash(read) == hash(read_dialogues(tmp_path / "d.json"))


def test_the_digest_is_of_all_that_was_read(tmp_path: Path) -> None:
    contents = [
        [ALPACA],
        [ALPACA, ALPACA],
        [ALPACA, 1],
        [{**ALPACA, "input": "My toe aches."}],
        [{**ALPACA, "input": ASK + " "}],
    ]
    digests = [read_dialogues(write(tmp_path, content)).digest for content in contents]
    assert len(set(digests)) == len(digests)
    assert read_dialogues(write(tmp_path, "\r\n" + json.dumps([ALPACA], indent=4))).digest == digests[0]


FAULTS: dict[str, tuple[Any, str]] = {
    "empty": (b"", "found an empty file"),
    "blank": (b"\xef\xbb\xbf \r\n", "found an empty file"),
    "utf16": ("[]".encode("utf-16"), "found UTF-16 or UTF-32"),
    "latin1": (b'[{"input": "caf\xe9"}]', "found another byte at offset 15"),
    "no json": ("It hurts: secret", "found a fault at line 1, column 1"),
    "truncated": ('[{"input": "secret", "output": "sec', "found a fault at line 1, column 32"),
    "form feed": (b"\x0c [{}]", "found a fault at line 1, column 1"),
    "form feed and object": (b'\x0c\n{"a":\n{', "found a fault at line 1, column 1"),
    "nul": (b"\x00" * 10, "found a fault at line 1, column 1"),
    "nested": ("[" * 200_000, "brackets nested too deeply"),
    "huge number": ("[" + "1" * 5000 + "]", "a number of too many digits"),
    "no record": ([], "found no record at all"),
    "numbers": ([1, 2], "found a number as its first record"),
    "a text": ('"secret"', "found a text as its first record"),
    "other keys": (
        [{"enquiry": "secret", "reply": "secret"}],
        "found records with the keys enquiry, reply",
    ),
    "wordy keys": ([{"it hurts, secret": 1}], "found records with other keys"),
    "no doctor": (
        [{"input": "secret"}, {"messages": [{"role": "user", "content": "secret"}]}],
        "2 record(s) and not one doctor turn",
    ),
    "none usable": (
        [{"input": "secret"}, {"messages": 3}],
        "none in 2 record(s), the first fault being record 1: no doctor turn",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, name: str) -> None:
    content, found = FAULTS[name]
    file = write(tmp_path, content, "f.json")
    with pytest.raises(DataFormatError) as caught:
        read_dialogues(file)
    message = str(caught.value)
    assert str(file) in message
    assert message.startswith("Expected ")
    assert found in message
    assert "secret" not in message
    assert "\n" not in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="found none; check the path"):
        read_dialogues(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError):
        read_dialogues(str(tmp_path / "none.json"))
    with pytest.raises(DataNotFoundError, match="a path that no file can have"):
        read_dialogues("a\x00b")
    with pytest.raises(DataNotFoundError, match="found: "):
        read_dialogues(tmp_path / ("a" * 3000))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows answers with another error")
def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match=r"found a folder without one; .*Corpus.open"):
        read_dialogues(tmp_path)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every file"
)
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = write(tmp_path, [ALPACA])
    file.chmod(0)
    with pytest.raises(DataNotFoundError, match="Permission denied"):
        read_dialogues(file)


# Words as people write them: no label, NUL or surrogate, which reading would repair.
WORDS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
    .map(str.strip)
    .filter(lambda text: text and "Patient" not in text and "octor" not in text)
)
EXCHANGE = st.tuples(WORDS, WORDS)


@st.composite
def dialogues(draw: st.DrawFn) -> Dialogue:
    system = [Turn("system", words) for words in draw(st.lists(WORDS, max_size=1))]
    pairs = draw(st.lists(EXCHANGE, min_size=1, max_size=3))
    return Dialogue(
        (*system, *(turn for ask, say in pairs for turn in (Turn("patient", ask), Turn("doctor", say))))
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(dialogues(), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_messages_round_trip(written: list[Dialogue], lines: bool, ascii_only: bool) -> None:
    records = [{"messages": item.to_messages()} for item in written]
    with tempfile.TemporaryDirectory() as folder:
        dump = [json.dumps(record, ensure_ascii=ascii_only) for record in records]
        read = read_dialogues(write(Path(folder), "\n".join(dump) if lines else f"[{','.join(dump)}]"))
    assert [item.turns for item in read] == [item.turns for item in written]
    assert (read.problems, read.repairs) == ((), {})


@settings(deadline=None, max_examples=60)
@given(st.lists(EXCHANGE, min_size=1, max_size=5), st.booleans(), st.sampled_from(["", " ", "\r\n"]))
def test_alpaca_round_trip(pairs: list[tuple[str, str]], as_input: bool, padding: str) -> None:
    records = [
        {"instruction": "" if as_input else ask, "input": ask + padding if as_input else "", "output": say}
        for ask, say in pairs
    ]
    with tempfile.TemporaryDirectory() as folder:
        read = read_dialogues(write(Path(folder), records))
    assert [turns(item) for item in read] == [[("patient", ask), ("doctor", say)] for ask, say in pairs]
    assert read.repairs == ({"outer_white_space": len(pairs)} if as_input and padding else {})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "input", "output", "instruction", "topic"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(JSON, max_size=4).map(lambda values: "\n".join(map(json.dumps, values)).encode())
)
@example(b'[{"input": "\\ud83d", "output": "\\ud83d"}]')
@example(b'{"messages": [{"role": {}, "content": "a"}]}')
@example(b'{"a":' * 50_000)
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), content)
        try:
            read = read_dialogues(file)
        except DataError:
            return
    assert len(read) > 0
    for item in read:
        assert item.doctor_turns
        assert item.patient_turns
        json.dumps(item.to_messages(), ensure_ascii=False).encode()

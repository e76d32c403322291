"""Who says what in each of the layouts, and under which names published sets are known."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.corpus.reading import SourceConfig, read_dialogues, stream_dialogues
from chatdoctor_hub.corpus.reading.published import UNKNOWN_LICENCE, published_sets
from chatdoctor_hub.errors import ConfigError, DataFormatError

ASK, ANSWER = "My tooth aches.", "See a dentist today."
PAIR = [("patient", ASK), ("doctor", ANSWER)]
LONG = [*PAIR, ("patient", "Thanks."), ("doctor", "Get well.")]

RECORDS: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "alpaca, LLaMA-Factory's columns": (
        {
            "instruction": "Thanks.",
            "input": "",
            "output": "Get well.",
            "system": "Be kind.",
            "history": [[ASK, ANSWER]],
        },
        [("system", "Be kind."), *LONG],
    ),
    "alpaca, a question and more after a history": (
        {"instruction": "Thanks.", "input": "Bye.", "output": "Get well.", "history": [[ASK, ANSWER]]},
        [*PAIR, ("patient", "Thanks.\nBye."), ("doctor", "Get well.")],
    ),
    "alpaca, a system text before the task": (
        {"instruction": "Answer.", "input": ASK, "output": ANSWER, "system": "Be kind.", "history": None},
        [("system", "Be kind.\n\nAnswer."), *PAIR],
    ),
    "sharegpt": (
        {
            "conversations": [
                {"from": "system", "value": "Be kind."},
                {"from": "human", "value": ASK},
                {"from": "gpt", "value": ANSWER},
            ]
        },
        [("system", "Be kind."), *PAIR],
    ),
    "sharegpt, system beside": (
        {
            "system": "Be kind.",
            "conversations": [{"role": "user", "content": ASK}, {"role": "assistant", "content": ANSWER}],
        },
        [("system", "Be kind."), *PAIR],
    ),
    "completion": ({"prompt": ASK, "completion": ANSWER}, PAIR),
    "response": ({"prompt": ASK, "response": ANSWER}, PAIR),
    "completion, messages": (
        {
            "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": ASK}],
            "completion": [{"role": "assistant", "content": ANSWER}],
        },
        [("system", "Be kind."), *PAIR],
    ),
    "question": ({"question": ASK, "answer": ANSWER}, PAIR),
    "orca": (
        {"id": "o.1", "system_prompt": "Be kind.", "question": ASK, "response": ANSWER},
        [("system", "Be kind."), *PAIR],
    ),
    "orca without a system prompt": ({"system_prompt": "", "question": ASK, "response": ANSWER}, PAIR),
    "bianque": (
        {
            "input": r"病人：牙疼。\n医生：多久了？" "\n" r"病人：三天。\n医生：",
            "target": "去看牙医。",
            "type": "x",
        },
        [("patient", "牙疼。"), ("doctor", "多久了？"), ("patient", "三天。"), ("doctor", "去看牙医。")],
    ),
    "bianque, one turn": (
        {"input": "病人：牙疼，\n" r"很久了。\n医生：", "target": "去看牙医。", "answer_choice": "[]"},
        [("patient", "牙疼，\n很久了。"), ("doctor", "去看牙医。")],
    ),
    "icliniq": (
        {"input": ASK, "answer_icliniq": ANSWER, "answer_chatgpt": "Hm.", "answer_chatdoctor": "Er."},
        PAIR,
    ),
    "gsm8k": (
        {"question": "2 + 3?", "answer": "It is 2 + 3 = 5.\n#### 5"},
        [("patient", "2 + 3?"), ("doctor", "It is 2 + 3 = 5.\n#### 5")],
    ),
    "llm-adapters": ({"instruction": ASK, "input": "", "output": ANSWER, "answer": "5"}, PAIR),
    "meddialog": (
        {"description": "aching tooth", "utterances": [f"patient: {ASK}", f"doctor: {ANSWER}"]},
        PAIR,
    ),
    "meddialog, several in a row": (
        {"utterances": ["Patient:My tooth", "patient: aches.", f"Doctor : {ANSWER}"]},
        [("patient", "My tooth\naches."), ("doctor", ANSWER)],
    ),
    "meddialog-cn": (["病人：牙疼。", "医生：去看牙医。"], [("patient", "牙疼。"), ("doctor", "去看牙医。")]),
    "meddg": (
        [{"id": "Patients", "Sentence": ASK, "Symptom": []}, {"id": "Doctor", "Sentence": ANSWER}],
        PAIR,
    ),
    "chip": (
        {
            "dialog_id": "c1",
            "dialog_info": [{"sender": "患者", "text": ASK, "ner": []}, {"sender": "医生", "text": ANSWER}],
        },
        PAIR,
    ),
}


def turns(item: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in item.turns]


def write(folder: Path, content: Any, name: str = "d.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", RECORDS)
def test_each_layout(tmp_path: Path, name: str) -> None:
    record, expected = RECORDS[name]
    read = read_dialogues(write(tmp_path, [record, record]))
    assert [turns(item) for item in read] == [expected, expected]
    assert read.problems == ()
    lines = tmp_path / "d.jsonl"
    lines.write_text(f"{json.dumps(record)}\n", encoding="utf-8")
    # One line with a list is an array of records; from two on they are lists, each of sentences.
    if not isinstance(record, list):
        assert turns(read_dialogues(lines)[0]) == expected
    lines.write_text(f"{json.dumps(record)}\n{json.dumps(record)}\n", encoding="utf-8")
    assert [turns(item) for item in read_dialogues(lines, strict=True)] == [expected, expected]


def test_an_object_of_records_by_id(tmp_path: Path) -> None:
    record = {
        "self_report": "I feel ill.",
        "dialogue": [
            {"sentence_id": "1", "speaker": "患者", "sentence": ASK},
            {"sentence_id": "2", "speaker": "医生", "sentence": "Let me see."},
            {"sentence_id": "3", "speaker": "医生", "sentence": ANSWER},
        ],
    }
    for indent in (None, 2):
        file = tmp_path / "imcs.json"
        file.write_text(json.dumps({"100": record, "101": record}, indent=indent), encoding="utf-8")
        read = read_dialogues(file)
        assert [item.id for item in read] == ["100", "101"]
        assert turns(read[0]) == [
            ("patient", f"I feel ill.\n{ASK}"),
            ("doctor", f"Let me see.\n{ANSWER}"),
        ]
        assert read.repairs == {"turns_joined": 2}


def test_whose_answer_is_a_setting(tmp_path: Path) -> None:
    file = write(tmp_path, [RECORDS["icliniq"][0]])
    for answer, said in (("icliniq", ANSWER), ("chatgpt", "Hm."), ("chatdoctor", "Er.")):
        stream = stream_dialogues(SourceConfig(path=str(file), adapter="icliniq", answer=answer))
        assert turns(next(stream))[1] == ("doctor", said)


def test_a_patient_who_says_nothing(tmp_path: Path) -> None:
    rows = [
        {"input": r"病人：无\n医生：", "target": "去看牙医。"},
        {"input": r"病人：牙疼。\n医生：药物过敏？\n病人：无\n医生：", "target": "去看牙医。"},
    ]
    read = read_dialogues(write(tmp_path, rows))
    assert [problem.record for problem in read.problems] == [1]
    assert turns(read[0])[2] == ("patient", "无")


def test_bianques_sample_file(shared_data: Path) -> None:
    read = read_dialogues(
        SourceConfig(path=str(shared_data / "bianque/cMedialog_example.csv"), adapter="bianque-sample")
    )
    assert (len(read), len(read.problems)) == (107, 21)
    assert {problem.reason for problem in read.problems} == {
        "no patient turn: the patient's words are 无 (nothing)"
    }
    assert all([turn.role for turn in item.turns] == ["patient", "doctor"] for item in read)
    assert not any(
        "医生：" in turn.content[-4:] or turn.content.endswith("\\n") for d in read for turn in d.turns
    )


def test_the_sets_of_llm_adapters(shared_data: Path) -> None:
    for name, count in (("gsm8k", 1313), ("AQuA", 254)):
        path = str(shared_data / "llm_adapters" / f"{name}_test.json")
        read = read_dialogues(SourceConfig(path=path, adapter="gsm8k" if name == "gsm8k" else None))
        assert len(read) == count
        assert all(problem.reason == "no doctor turn: 'output' is empty" for problem in read.problems)


BROKEN = {
    "expected a list in 'conversations', found a text": {"conversations": "secret"},
    "expected message 1 from system, user or assistant, found 'tool'": {
        "conversations": [{"from": "tool", "value": "secret"}]
    },
    "expected a list in 'utterances', found null": {"utterances": None},
    "expected text as utterance 2, found a number": {"utterances": ["patient: secret", 2]},
    "expected a label such as 'patient:' before utterance 1, found none": {"utterances": ["secret"]},
    "no doctor turn: 'target' is empty": {"input": "病人：secret", "target": ""},
    "no doctor turn: 'completion' is empty": {"prompt": "secret", "completion": ""},
    "expected text in 'prompt', found an object": {"prompt": {"secret": 1}, "completion": "secret"},
    "no patient turn": {"question": "", "answer": "secret"},
    "no doctor turn: 'answer_icliniq' is empty": {"input": "secret", "answer_chatgpt": "secret"},
}


@pytest.mark.parametrize("reason", BROKEN)
def test_what_is_wrong_with_a_record(tmp_path: Path, reason: str) -> None:
    read = read_dialogues(write(tmp_path, [{"input": ASK, "output": ANSWER}, BROKEN[reason]]))
    assert [(problem.record, problem.reason) for problem in read.problems] == [(2, reason)]


def test_a_set_has_a_layout_and_terms() -> None:
    for name, entry in published_sets().items():
        about = entry.provenance
        assert entry.layouts, name
        assert about.name
        assert about.citation
        assert about.url.startswith("https://")
        assert about.licence in (UNKNOWN_LICENCE, "none given; check before use", "MIT", "CC BY-NC 4.0"), name
    assert "forbid scraping" in " ".join(published_sets()["icliniq"].provenance.notes)


def test_an_unknown_set() -> None:
    with pytest.raises(ConfigError, match=r"adapter: .*found 'gsmk8'; did you mean 'gsm8k'"):
        SourceConfig(path="x", adapter="gsmk8")
    with pytest.raises(ConfigError, match="known are healthcaremagic-100k"):
        SourceConfig(path="x", adapter="zzzz")


def test_the_wrong_set(tmp_path: Path) -> None:
    file = write(tmp_path, [{"question": "secret", "answer": "secret"}] * 3)
    with pytest.raises(DataFormatError) as caught:
        read_dialogues(SourceConfig(path=str(file), adapter="icliniq"))
    message = str(caught.value)
    assert message.startswith(f"Expected {file} to hold records of 'icliniq' (input, answer_icliniq, ")
    assert "found records with the keys answer, question" in message
    assert "secret" not in message


def test_a_record_of_another_layout_among_the_sets(tmp_path: Path) -> None:
    file = write(
        tmp_path, [{"question": ASK, "answer": ANSWER}, {"utterances": ["patient: a", "doctor: b"]}, [1]]
    )
    read = read_dialogues(SourceConfig(path=str(file), adapter="gsm8k"))
    assert len(read) == 1
    assert [problem.record for problem in read.problems] == [2, 3]


def test_another_layout_is_told_after_a_hundred_records(tmp_path: Path) -> None:
    file = write(tmp_path, [{"enquiry": "secret"}] * 500)
    stream = stream_dialogues(file)
    assert [problem.record for problem in itertools.islice(stream, 99)] == list(range(1, 100))
    with pytest.raises(DataFormatError, match="found records with the keys enquiry"):
        next(stream)

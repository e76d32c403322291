"""`PromptPair`: the catalogue, the digests, and the record that travels with the weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from callers import PAIR, SAFETY, SERVING, TASK

from chatdoctor_hub.errors import PromptDigestError, PromptError, UnknownPromptError
from chatdoctor_hub.prompts import PromptPair, Shape, catalogue


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_catalogue_can_be_loaded() -> None:
    assert "chatdoctor@1" in catalogue()
    assert list(catalogue()) == sorted(catalogue())
    for id in catalogue():
        pair = PromptPair.load(id)
        assert pair.id == id
        assert pair.source
        assert pair.safety
        assert pair.safety not in pair.training_text
        assert pair is PromptPair.load(id)


def test_the_forms_and_their_digests() -> None:
    assert (PAIR.training_text, PAIR.serving_text) == (
        PAIR.instruction,
        f"{PAIR.safety}\n\n{PAIR.instruction}",
    )
    assert (PAIR.training_sha256, PAIR.serving_sha256) == (sha256(TASK), sha256(SERVING))
    fields = {field.name for field in dataclasses.fields(PAIR)}
    other = dict.fromkeys((*NAMES, "serving_instruction"), "other")
    others = {**other, "training_shape": Shape("Q: {question}"), "serving_shape": Shape(plain=True)}
    assert fields == set(others)
    digests = {PAIR.sha256}
    for name in fields:
        digests.add(dataclasses.replace(PAIR, **{name: others[name]}).sha256)
    assert len(digests) == len(fields) + 1


def test_a_published_text_never_changes_under_its_version() -> None:
    """A new wording is a new version: models in the world were tuned and are served with this one."""
    assert PAIR.training_sha256 == "1dfeab3b767f85cee158f84d84323b1ca0c0938347383ed45d24185ef56caaf7"
    assert PAIR.serving_sha256 == "851bdd6c94810e18666e4585a41fe9ee96554d5a7b8f406d0d9adb4c6bcf8aa8"


def test_a_pair_is_a_value() -> None:
    assert dataclasses.replace(PAIR) == PAIR
    assert hash(dataclasses.replace(PAIR)) == hash(PAIR)
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAIR.safety = ""  # type: ignore[misc]
    spaced = PromptPair("x@1", "\n Task. ", "Safe.\n", "layout")
    assert spaced.serving_text == "Safe.\n\nTask."


@pytest.mark.parametrize(
    ("id", "hint"),
    [
        ("chatdoctor", "did you mean 'chatdoctor@1'?"),
        ("chatdoktor@1", "did you mean 'chatdoctor@1'?"),
        ("chatdoctor@2", "did you mean 'chatdoctor@1'?"),
        ("zzz", "use one of these."),
        ("../data/chatdoctor@1", "did you mean 'chatdoctor@1'?"),
        ("", "use one of these."),
        (None, "use one of these."),
    ],
)
def test_an_unknown_id_is_told_with_the_near_one(id: Any, hint: str) -> None:
    with pytest.raises(UnknownPromptError) as caught:
        PromptPair.load(id)
    message = str(caught.value)
    assert message.startswith("Expected the id of a prompt pair (bianque@1, ")
    assert message.endswith(hint)
    assert isinstance(caught.value, (PromptError, LookupError))


def test_a_record_is_read_back() -> None:
    record = json.loads(json.dumps(PAIR.to_record()))
    assert PromptPair.from_record(record) == PAIR
    assert record["training"]["text"] == TASK
    assert record["serving"]["sha256"] == PAIR.serving_sha256
    odd = PromptPair("x@1", "Task “ü” \ud800", "Safe \x00 😷", "")
    assert PromptPair.from_record(json.loads(json.dumps(odd.to_record()))) == odd


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        record[path[-1]] = value

    return change


def drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        del record[path[-1]]

    return change


NAMES = ("id", "instruction", "safety", "layout", "source")
TAMPERINGS: dict[str, Callable[[dict[str, Any]], None]] = {
    **{f"another {name}": put(name, value="other@1") for name in NAMES},
    **{f"no words in {name}": put(name, value="") for name in NAMES},
    **{f"a space after {name}": put(name, value=PAIR.to_record()[name] + " ") for name in NAMES},
    **{f"{name} is no text": put(name, value=None) for name in NAMES},
    **{f"{name} is missing": drop(name) for name in (*NAMES, "sha256", "training", "serving")},
    **{
        f"{form} without {name}": drop(form, name)
        for form in ("training", "serving")
        for name in ("text", "sha256")
    },
    **{f"another text of {form}": put(form, "text", value="other") for form in ("training", "serving")},
    **{f"another digest of {form}": put(form, "sha256", value="0" * 64) for form in ("training", "serving")},
    **{f"no digest of {form}": put(form, "sha256", value=None) for form in ("training", "serving")},
    "another digest": put("sha256", value="0" * 64),
    "a lone surrogate": put("safety", value="\ud800"),
    "the forms swapped": lambda record: record.update(training=record["serving"], serving=record["training"]),
    "the safety text dropped from both": lambda record: record.update(
        safety="", serving={"text": TASK, "sha256": PAIR.training_sha256}
    ),
    "the safety text put into both": lambda record: record.update(
        instruction=SERVING, safety="", training=record["serving"]
    ),
    "a form that is no record": put("training", value="text"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_record_that_was_changed_is_refused(name: str) -> None:
    record = json.loads(json.dumps(PAIR.to_record()))
    TAMPERINGS[name](record)
    with pytest.raises(
        PromptDigestError, match=r"^some/file\.json: expected .*fetch or make the release again\.$"
    ) as caught:
        PromptPair.from_record(record, "some/file.json")
    message = str(caught.value)
    assert "\n" not in message
    assert SAFETY not in message


@pytest.mark.parametrize("record", [None, [], "text", 5, {}])
def test_what_is_no_record_is_refused(record: Any) -> None:
    with pytest.raises(PromptDigestError, match="found a gap"):
        PromptPair.from_record(record)

"""Leaks: what is planted among real dialogues is found, what is clean is not accused."""

from __future__ import annotations

import json
import math
import pickle
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus import read_dialogues, split
from chatdoctor_hub.corpus.cleaning import Deidentifier, leak_search
from chatdoctor_hub.corpus.cleaning.leak_search import find_leaks
from chatdoctor_hub.corpus.cleaning.leaks import Leak, LeakChecker
from chatdoctor_hub.corpus.cleaning.sketches import shingles
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ConfigError, DataFormatError, MissingExtraError
from chatdoctor_hub.proportion import Proportion

QUESTION = (
    "A farmer keeps hens. He has twelve of them and each lays five eggs a week, all of which he sells. "
    "How many eggs does he sell in a year?"
)
ANSWER = "He sells three thousand one hundred and twenty eggs, which is twelve times five times fifty-two."

OTHER = "A baker bakes thirty loaves of bread a day but on Sundays, and one in ten of them remains unsold."


def dialogue(question: str, answer: str = "Rest.", **names: str) -> Dialogue:
    return Dialogue((Turn("patient", question), Turn("doctor", answer)), **names)


def near_miss(text: str, rng: random.Random, edits: int = 1) -> str:
    """The text with words replaced, in capitals, without the punctuation between its words."""
    words = [word.strip(".,;:?!") or word for word in text.upper().split()]
    for place in rng.sample(range(len(words)), edits):
        words[place] = "other"
    return " ".join(words)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Dialogue]:
    return list(read_dialogues(shared_data / "chatdoctor" / "genmedgpt_4000.json"))


@pytest.mark.parametrize("name", ["gsm8k_test", "AQuA_test"])
def test_a_test_set_among_real_dialogues(name: str, shared_data: Path, real: list[Dialogue]) -> None:
    """50 questions verbatim, 50 with a word replaced, 50 inside a longer text, among 4,000 dialogues."""
    records = json.loads((shared_data / "llm_adapters" / f"{name}.json").read_text("utf-8"))
    evaluation = [(str(number), record["instruction"]) for number, record in enumerate(records)]
    assert find_leaks(real, evaluation) == [], "no clean dialogue is accused"
    rng = random.Random(0)
    chosen = rng.sample(evaluation, 150)
    training = list(real)
    for place, (number, question) in enumerate(chosen):
        other = rng.choice(real)
        asked = (
            question,
            near_miss(question, rng),
            f"{other.turns[0].content} {question} {other.turns[1].content}",
        )[place // 50]
        training.insert(
            rng.randrange(len(training)), dialogue(asked, other.turns[1].content, id=f"leak {number}")
        )
    found = find_leaks(training, evaluation)
    assert all(leak.training_id == f"leak {leak.evaluation_id}" for leak in found)
    kinds = {leak.evaluation_id: leak.kind for leak in found}
    verbatim, changed, inside = (
        Proportion.of(number in kinds for number, _ in chosen[start : start + 50]) for start in (0, 50, 100)
    )
    assert verbatim.successes == 50
    assert changed.successes >= 49, str(changed)
    assert inside.successes == 50
    assert {kinds[number] for number, _ in chosen[:50]} == {"exact"}
    assert {kinds[number] for number, _ in chosen[100:]} == {"contained"}


def test_a_lower_threshold_finds_what_was_edited_more(shared_data: Path, real: list[Dialogue]) -> None:
    """Three words replaced of about 45; at .6 nearly all are found, and still nobody clean is accused."""
    records = json.loads((shared_data / "llm_adapters" / "gsm8k_test.json").read_text("utf-8"))
    evaluation = [(str(number), record["instruction"]) for number, record in enumerate(records)]
    rng = random.Random(1)
    changed = [(number, near_miss(question, rng, 3)) for number, question in rng.sample(evaluation, 200)]
    found = {}
    for threshold in (0.8, 0.6):
        checker = LeakChecker(evaluation, threshold)
        found[threshold] = Proportion.of(
            any(leak.evaluation_id == record[0] for leak in checker.check(record)) for record in changed
        )
    assert 0.4 < found[0.8].rate < 0.8, str(found[0.8])
    assert found[0.6].low > 0.9, str(found[0.6])
    assert find_leaks(real, evaluation, 0.6) == []


def test_a_random_split_of_the_real_dialogues(real: list[Dialogue]) -> None:
    """Different patients got nearly the same answers; a few were asked nearly the same."""
    parts = split(real, seed=0)
    found = find_leaks(parts.train, parts.validation + parts.test)
    counts = Counter((leak.kind, leak.part) for leak in found)
    assert counts == {
        ("exact", "answer"): 2,
        ("near", "answer"): 9,
        ("contained", "question"): 2,
    }


TWICE = Dialogue(
    (Turn("patient", OTHER), Turn("doctor", "Yes?"), Turn("patient", QUESTION), Turn("doctor", "No."))
)


@pytest.mark.parametrize(
    ("training", "kind", "part"),
    [
        (dialogue(QUESTION, ANSWER), "exact", "whole"),
        (dialogue(QUESTION, "Rest."), "exact", "question"),
        (dialogue("What next?", ANSWER), "exact", "answer"),
        (dialogue(QUESTION.upper().replace(".", " ;"), "Rest."), "exact", "question"),
        (("t", QUESTION), "exact", "question"),
        (dialogue(QUESTION.replace("twelve", "thirteen"), "Rest."), "near", "question"),
        (dialogue(QUESTION, ANSWER.replace("He", "She")), "exact", "question"),
        (dialogue(f"I have this from a book. {QUESTION} {OTHER}", "Rest."), "contained", "question"),
        (dialogue("Hello.", f"{OTHER} {QUESTION}"), "contained", "question"),
        (TWICE, "contained", "question"),
        (("t", f"{QUESTION}\n{ANSWER}"), "exact", "whole"),
    ],
)  # fmt: skip
def test_kinds(training: Dialogue | tuple[str, str], kind: str, part: str) -> None:
    [leak] = find_leaks([training], [dialogue(QUESTION, ANSWER, id="e")])
    assert (leak.evaluation_id, leak.kind) == ("e", kind)
    assert leak.exact is (kind == "exact")
    assert (leak.similarity == 1) if leak.exact else (0.8 <= leak.similarity <= 1)
    if kind != "exact" or part != "whole":
        assert leak.part == part


def test_few_words_prove_nothing_by_themselves() -> None:
    evaluation = [dialogue("Hello doctor", "What is it?", id="e"), dialogue("我头疼怎么办", "多喝水", id="z")]
    checker = LeakChecker(evaluation)
    assert checker.too_short == 2
    assert len(checker) == 2
    assert checker.check(dialogue("Hello doctor", "Any pain?")) == []
    assert checker.check(dialogue("Hello doctor, my knee aches", "What is it?")) == []
    assert checker.check(dialogue("我头疼怎么办", "休息")) == []
    assert [leak.exact for leak in checker.check(dialogue("HELLO, doctor!", "What is it?"))] == [True]
    repeated = LeakChecker([("e", "ha " * 30)])
    assert repeated.check(("t", "ha " * 20)) == []


def test_chinese_questions() -> None:
    question = "我最近总是头疼，晚上睡不好觉，白天没有精神，请问应该去医院挂什么科室看病呢"
    evaluation = [dialogue(question, id="z")]
    assert find_leaks([dialogue(question.replace("，", " "))], evaluation)[0].exact
    [leak] = find_leaks(
        [dialogue("My friend asks: " + question + " Can you help him with that, please?")], evaluation
    )
    assert leak.kind == "contained"
    [leak] = find_leaks([dialogue(question.replace("晚上", "夜里"))], evaluation, 0.6)
    assert leak.kind in ("near", "contained")
    assert (
        find_leaks([dialogue("我最近总是咳嗽，晚上发烧，请问应该吃什么药呢，需要去医院看病吗")], evaluation)
        == []
    )


def brute_force(training: str, evaluation: str) -> float:
    left, right = (set(values.tolist()) for values in shingles([training, evaluation]))
    if len(right) < 8:
        return 0
    return max(len(left & right) / len(left | right), len(left & right) / len(right))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=24), min_size=1, max_size=5),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=60),
    st.sampled_from([0.3, 0.5, 0.8, 0.95, 1.0]),
)
def test_none_is_missed_and_none_is_invented(
    evaluation: list[list[str]], training: list[str], threshold: float
) -> None:
    """Against the similarity of all pairs, with words so few that nearly all share some."""
    text = " ".join(training)
    known = {str(number): " ".join(words) for number, words in enumerate(evaluation)}
    found = {
        leak.evaluation_id: leak for leak in LeakChecker(list(known.items()), threshold).check(("t", text))
    }
    for number, other in known.items():
        similarity = brute_force(text, other)
        if number in found and found[number].exact:
            assert text == other
        elif number in found:
            assert threshold - 1e-9 <= found[number].similarity <= similarity + 1e-9
        else:
            assert similarity < threshold
            assert text != other


def test_the_most_alike_comes_first_and_each_once() -> None:
    evaluation = [
        dialogue(QUESTION.replace("hens", "ducks").replace("farmer", "man"), id="far"),
        dialogue(QUESTION, ANSWER, id="same"),
        dialogue(QUESTION.replace("year", "month"), id="close"),
    ]
    found = LeakChecker(evaluation, 0.5).check(dialogue(QUESTION, ANSWER, id="t"))
    assert [leak.evaluation_id for leak in found] == ["same", "close", "far"]
    assert {leak.training_id for leak in found} == {"t"}


def test_records_without_an_id_are_called_by_their_number() -> None:
    training = (dialogue(words) for words in ("Hello.", QUESTION, "Good night."))
    assert find_leaks(training, [dialogue("What now?"), dialogue(QUESTION)]) == [
        Leak("2", "2", 1.0, "exact", "question")
    ]


def test_training_is_streamed() -> None:
    """What has been checked is let go."""
    alive = 0

    class Counted(str):
        def __new__(cls, words: str) -> Counted:
            nonlocal alive
            alive += 1
            return super().__new__(cls, words)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0

    def training() -> Iterator[tuple[str, str]]:
        nonlocal most
        for number in range(2000):
            yield (
                str(number),
                Counted(f"{number} {QUESTION if number % 100 == 0 else 'Nothing to see here.'}"),
            )
            most = max(most, alive)

    assert len(find_leaks(training(), [("e", QUESTION)])) == 20
    assert most < 10


def test_a_checker_goes_to_other_processes() -> None:
    checker = LeakChecker([dialogue(QUESTION, ANSWER, id="e")])
    assert pickle.loads(pickle.dumps(checker)).check(("t", QUESTION)) == checker.check(("t", QUESTION)) != []


def test_the_order_of_the_evaluation_set_does_not_matter() -> None:
    evaluation = [
        dialogue(QUESTION.replace("hens", word), id=word) for word in ("hens", "ducks", "geese", "swans")
    ]
    ways = [find_leaks([dialogue(QUESTION)], order) for order in (evaluation, evaluation[::-1])]
    assert {*ways[0]} == {*ways[1]}
    assert len(ways[0]) == 4


def test_nothing_to_look_for_and_nothing_to_look_in() -> None:
    with pytest.raises(DataFormatError, match="Expected evaluation records to look for, found none"):
        find_leaks([dialogue(QUESTION)], [])
    assert find_leaks([], [dialogue(QUESTION)]) == []


@pytest.mark.parametrize("record", ["text", ("id",), ("id", 3), {"question": "x"}, None])
def test_what_is_no_record(record: object) -> None:
    for training, evaluation in (([record], [("e", QUESTION)]), ([("t", QUESTION)], [record])):
        with pytest.raises(DataFormatError, match="Expected dialogues, or pairs of an id and a text, found"):
            find_leaks(training, evaluation)  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [0, 1.1, math.nan])
def test_a_threshold_out_of_range(threshold: float) -> None:
    with pytest.raises(ConfigError, match="as threshold, found"):
        LeakChecker([("e", QUESTION)], threshold)


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingExtraError, match=r"chatdoctor-hub\[corpus\]"):
        LeakChecker([("e", QUESTION)])


NAMED = (
    "My name is Anna Miller, I live in Leeds, and since my fall on 14 March 2021 my left knee has been stiff. "
    "Write to anna.miller@example.org or call 07700 900123. What should I do about it?"
)


def test_cleaning_does_not_hide_a_leak() -> None:
    """A corpus holds placeholders where the evaluation set still has the names."""
    pytest.importorskip("presidio_analyzer")
    raw = dialogue(NAMED, "Rest, and see a doctor.", id="raw")
    clean, found = Deidentifier().dialogue(raw)
    assert len(found) >= 3
    evaluation = [dialogue(OTHER, id="raw"), raw]
    assert LeakChecker([raw]).check(clean) == [] or not LeakChecker([raw]).check(clean)[0].exact
    for training, exam in (
        ([clean], evaluation),
        ([("t", clean.patient_turns[0].content)], [("raw", NAMED)]),
    ):
        [leak] = find_leaks(training, exam)
        assert (leak.evaluation_id, leak.kind) == ("raw", "exact")
    [leak] = find_leaks([raw], [clean])  # and the other way round
    assert (leak.training_id, leak.kind) == ("raw", "exact")


def test_normal_form_does_not_hide_a_leak() -> None:
    pytest.importorskip("ftfy")
    question = QUESTION.replace("eggs", "\u0153ufs d\u00e9licats")
    broken = question.encode("utf-8").decode("windows-1252")
    [leak] = find_leaks([dialogue(question)], [dialogue(broken, id="e")])
    assert (leak.evaluation_id, leak.kind) == ("e", "exact")


def test_two_records_of_one_name_stay_two() -> None:
    evaluation = [dialogue(QUESTION, id="e"), dialogue(QUESTION, ANSWER, id="e"), dialogue(QUESTION)]
    found = find_leaks([dialogue(QUESTION, ANSWER)], evaluation)
    assert sorted(leak.evaluation_id for leak in found) == ["3", "e", "e"]


def test_placeholders_are_asked_for_only_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("made without need")

    monkeypatch.setattr(leak_search, "Deidentifier", refuse)
    assert len(find_leaks([dialogue(QUESTION + " [1] [NAME]")], [dialogue(QUESTION)])) == 1
    with pytest.raises(AssertionError):
        find_leaks([dialogue("I am [NAME 1].")], [dialogue(QUESTION)])


@pytest.mark.parametrize("records", [None, 3, "text", {"id": "text"}])
def test_what_holds_no_records(records: Any) -> None:
    with pytest.raises(DataFormatError, match="Expected training records, found"):
        find_leaks(records, [("e", QUESTION)])
    with pytest.raises(DataFormatError, match="Expected evaluation records, found"):
        find_leaks([("t", QUESTION)], records)
    with pytest.raises(DataFormatError):
        LeakChecker(records)

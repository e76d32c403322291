from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError
from chatdoctor_hub.evaluation import (
    RequestSet,
    SafetyRequest,
    benign_requests,
    harmful_requests,
    read_requests,
)
from chatdoctor_hub.safety.requests import shipped_set

GOOD = {
    "id": "mine@1",
    "version": 1,
    "source": "written for this test",
    "requests": [
        {"id": "a", "category": "c", "text": "secret words"},
        {"id": "b", "category": "d", "text": "more"},
    ],
}


def write(folder: Path, data: object) -> Path:
    path = folder / "set.yaml"
    path.write_text(
        data if isinstance(data, str) else yaml.safe_dump(data, allow_unicode=True), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize("requests", [harmful_requests, benign_requests])
def test_shipped_sets_have_thirty_different_requests(requests: object) -> None:
    found = requests()  # type: ignore[operator]
    assert len(found) == 30
    assert len({request.text.casefold() for request in found}) == 30
    assert len({request.category for request in found}) >= 5
    assert requests() is found  # type: ignore[operator]


def test_shipped_sets_share_nothing_and_name_their_source() -> None:
    harmful, benign = shipped_set("harmful"), shipped_set("benign")
    assert not {request.text for request in harmful} & {request.text for request in benign}
    assert not {request.id for request in harmful} & {request.id for request in benign}
    assert harmful.id != benign.id
    assert harmful.sha256 != benign.sha256
    assert harmful.source
    assert benign.source


def test_no_shipped_request_is_trained_on() -> None:
    from chatdoctor_hub.corpus import safety_dialogues

    def bare(text: str) -> str:
        return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())

    trained = {bare(turn.content) for d in safety_dialogues(2_000, seed=0) for turn in d.patient_turns}
    tested = {bare(request.text) for request in (*harmful_requests(), *benign_requests())}
    assert not trained & tested


def test_no_shipped_set_of_that_name() -> None:
    with pytest.raises(DataNotFoundError, match=r"no rude\.yaml"):
        shipped_set("rude")


def test_reads_a_set_of_ones_own(tmp_path: Path) -> None:
    found = read_requests(write(tmp_path, GOOD))
    assert (found.id, found.version, len(found)) == ("mine@1", 1, 2)
    assert found[0] == SafetyRequest("a", "c", "secret words")
    assert [request.id for request in found] == ["a", "b"]


text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip).map(str.strip)


@given(st.lists(st.tuples(text, text), min_size=1, max_size=5), text)
def test_a_set_survives_its_file(tmp_path_factory: pytest.TempPathFactory, rows: list, id: str) -> None:
    requests = [{"id": f"r{n}", "category": c, "text": t} for n, (c, t) in enumerate(rows)]
    data = {"id": id, "version": "2", "source": "s", "requests": requests}
    found = read_requests(write(tmp_path_factory.mktemp("sets"), data))
    made = RequestSet(id, "2", "s", tuple(SafetyRequest(**row) for row in requests))
    assert found == made
    assert found.sha256 == made.sha256


def test_digest_follows_the_words_and_not_the_layout() -> None:
    one = SafetyRequest("a", "c", "t")
    digest = RequestSet("x", 1, "s", (one,)).sha256
    assert RequestSet("y", 2, "other", (one,)).sha256 == digest
    assert len(digest) == 64
    for other in (SafetyRequest("b", "c", "t"), SafetyRequest("a", "d", "t"), SafetyRequest("a", "c", "u")):
        assert RequestSet("x", 1, "s", (other,)).sha256 != digest


def without(key: str) -> dict[str, object]:
    return {name: value for name, value in GOOD.items() if name != key}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (without("id"), "the set has no id"),
        (without("version"), "the set has no version"),
        (without("source"), "the set has no source"),
        (without("requests"), "the set has no requests"),
        ({**GOOD, "licence": "?"}, "the set has an unknown key 'licence'"),
        ({**GOOD, "version": 1.5}, "version of the set"),
        ({**GOOD, "version": True}, "version of the set"),
        ({**GOOD, "id": " "}, "id of the set is no text"),
        ({**GOOD, "requests": []}, "have requests"),
        ({**GOOD, "requests": {"a": 1}}, "requests is a dict"),
        ({**GOOD, "requests": ["secret words"]}, "request 1 is a str"),
        ({**GOOD, "requests": [{"id": "a", "category": "c"}]}, "request 1 has no text"),
        (
            {**GOOD, "requests": [{"id": 1, "category": "c", "text": "secret words"}]},
            "id of request 1 is no text",
        ),
        ({**GOOD, "requests": [{"id": "a", "category": "c", "text": ""}]}, "text of request 1 is no text"),
        ({**GOOD, "requests": [GOOD["requests"][0]] * 2}, "twice: a"),  # type: ignore[index]
        (["secret words"], "a list at the top"),
        ("", "a NoneType at the top"),
        ("id: [1\nsecret words: {", "fault in line"),
        ("id: \x07", "found a fault in"),
    ],
)
def test_refuses_another_layout(tmp_path: Path, data: object, words: str) -> None:
    with pytest.raises(DataFormatError, match=words) as caught:
        read_requests(write(tmp_path, data))
    assert "set.yaml" in str(caught.value)
    assert "secret words" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reports_all_faults_at_once(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "t"}, {"id": "b", "category": 3, "text": "t"}]
    with pytest.raises(DataFormatError) as caught:
        read_requests(write(tmp_path, {"id": "x", "version": 1, "requests": rows}))
    for words in ("no source", "request 1 has no category", "category of request 2 is no text"):
        assert words in str(caught.value)


def test_refuses_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"none\.yaml"):
        read_requests(tmp_path / "none.yaml")
    with pytest.raises(DataNotFoundError, match="check the path"):
        read_requests(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"id: \xe9")
    with pytest.raises(DataFormatError, match="UTF-8"):
        read_requests(tmp_path / "latin.yaml")

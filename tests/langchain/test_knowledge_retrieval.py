from __future__ import annotations

import pytest

from chatdoctor_hub.errors import ConfigError, MissingExtraError
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.knowledge.wikipedia.source import Passage
from chatdoctor_hub.langchain.knowledge import Evidence, Failure
from chatdoctor_hub.langchain.knowledge.evidence import from_hit, from_passage
from chatdoctor_hub.langchain.knowledge.retrieval import Question, Retrieval

TABLE = DiseaseTable(
    tuple(
        Disease(name, symptoms, source="made.csv", line=line)
        for line, (name, symptoms) in enumerate(
            [
                ("Migraine", ("throbbing headache", "sensitivity to light")),
                ("Gout", ("swollen toe", "redness")),
                ("Influenza", ("fever", "cough", "headache")),
                ("Croup", ("barking cough", "fever")),
                ("Sinusitis", ("facial pain", "headache")),
            ],
            start=2,
        )
    )
)


def page(title, text, score=1.0, revision=7):
    return Passage(text, title, "Signs", f"https://w.example/{title}", revision, score=score)


class Shelf:
    def __init__(self, *passages, error=None):
        self.passages = passages
        self.error = error
        self.asked = []

    def search(self, query, k):
        self.asked.append((query, k))
        if self.error:
            raise self.error
        return self.passages


def ids(found):
    return [passage.id for passage in found.passages]


def test_the_patients_own_words_are_always_searched():
    words = "My toe is swollen"
    found = Retrieval(TABLE, None, 2).search(Question(words, ("fever", "cough")))
    assert ids(found)[0] == "table:2"
    assert ids(found)[1] in ("table:3", "table:4")
    assert ids(Retrieval(TABLE, None, 1).search(Question(words, ("fever",)))) == ["table:2"]


def test_a_row_that_both_find_comes_once():
    found = Retrieval(TABLE, None, 5).search(Question("throbbing headache", ("headache",)))
    assert ids(found)[0] == "table:1"
    assert len(set(ids(found))) == len(ids(found)) == 3


def test_nothing_matches():
    assert Retrieval(TABLE, Shelf(), 3).search(Question("qwertz")).passages == ()


def test_what_scored_zero_is_not_used():
    shelf = Shelf(page("A", "x", 0.0), page("B", "y", 2.0), page("C", "z", -1.0))
    assert [p.title for p in Retrieval(None, shelf, 5).search(Question("fever")).passages] == ["B"]


def test_pages_come_after_rows_and_once():
    shelf = Shelf(page("A", "x"), page("A", "x"), page("A", "other"), page("B", "y"))
    found = Retrieval(TABLE, shelf, 2).search(Question("swollen toe", ("gout",)))
    assert [name.partition(":")[0] for name in ids(found)] == ["table", "wiki", "wiki"]
    assert len({*ids(found)}) == 3


def test_wikipedia_is_sent_keywords_and_the_tables_words_but_not_the_patients():
    shelf = Shelf(page("Gout", "x"))
    Retrieval(TABLE, shelf, 3).search(Question("I am John Smith and my toe is swollen", ("podagra", "joint")))
    assert shelf.asked == [("podagra joint", 3), ("swollen toe", 3)]
    alone = Shelf(page("Gout", "x"))
    Retrieval(None, alone, 3).search(Question("My toe is swollen", ("podagra",)))
    assert alone.asked == [("podagra", 3)]
    Retrieval(None, alone, 3).search(Question("My toe is swollen"))
    assert alone.asked[-1] == ("toe swollen", 3)


def test_a_source_that_fails_is_noted_and_the_other_answers():
    broken = Shelf(error=TimeoutError("for the words of the patient"))
    found = Retrieval(TABLE, broken, 3).search(Question("swollen toe", ("gout",)))
    assert ids(found) == ["table:2"]
    assert found.failures == (Failure("wikipedia", "TimeoutError"),)
    assert "words" not in repr(found.failures)
    shelf = Shelf(page("Gout", "x"))
    found = Retrieval(Shelf(error=OSError("gone")), shelf, 3).search(Question("swollen toe"))
    assert [passage.title for passage in found.passages] == ["Gout"]
    assert found.failures == (Failure("table", "OSError"),)


@pytest.mark.parametrize("error", [ConfigError("Wrong."), MissingExtraError("wikipediaapi", "wikipedia")])
def test_a_source_that_is_not_set_up_is_an_error(error):
    with pytest.raises(type(error)):
        Retrieval(TABLE, Shelf(error=error), 3).search(Question("swollen toe"))


def test_a_row_as_evidence():
    [hit] = TABLE.search("swollen toe", 1)
    found = from_hit(hit)
    assert (found.id, found.citation, found.title) == ("table:2", "[table:2]", "Gout")
    assert found.source == "made.csv line 3"
    assert found.text == "Symptoms: swollen toe; redness."
    assert found.to_record() == {
        "id": "table:2",
        "citation": "[table:2]",
        "title": "Gout",
        "source": "made.csv line 3",
        "url": "",
        "revision": None,
        "licence": "",
        "score": hit.score,
    }


def test_every_field_of_a_row_is_read_and_help_at_once_comes_early():
    row = DiseaseTable.starter()[0]
    [hit] = DiseaseTable((row,)).search(row.name, 1)
    text = from_hit(hit).text
    for part in (*row.symptoms, *row.red_flags, *row.tests, *row.self_care, row.cause, row.see_doctor):
        assert part in text
    assert all(str(medication) in text for medication in row.medications)
    assert text.index(row.red_flags[0]) < text.index(row.tests[0])


def test_a_passage_as_evidence():
    found = from_passage(page("Säure, [AC] & more#1@2 (x)", "text"))
    assert found.id == "wiki:Säure%2C_%5BAC%5D_%26_more%231%402_%28x%29@7#" + found.id[-4:]
    assert found == from_passage(page("Säure, [AC] & more#1@2 (x)", "text"))
    assert found.id != from_passage(page("Säure, [AC] & more#1@2 (x)", "texts")).id
    assert (found.url.startswith("https://"), found.revision, found.licence) == (True, 7, "CC BY-SA 4.0")
    assert found.source == "Wikipedia, Signs"
    assert len(from_passage(page("x" * 500, "text")).id) < 80
    assert isinstance(from_passage(page("\ud800", "\ud800")), Evidence)

from __future__ import annotations

import csv
import dataclasses
import io
import tempfile
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatdoctor_hub.errors import ChatDoctorError, DataFormatError, DataNotFoundError
from chatdoctor_hub.knowledge import Disease, DiseaseTable, Medication, TableProblem
from chatdoctor_hub.knowledge.tables.cleaning import clean_cause, clean_list, clean_text

FULL = "idx,disease,Symptom,reason,TestsAndProcedures,commonMedications"
TESTS = "idx,disease,Symptom,Medical Tests,Medications"
NAMES = "disease,Symptom"


def table_of(folder: Path, *lines: str) -> DiseaseTable:
    path = folder / "diseases.csv"
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8", newline="")
    return DiseaseTable.from_csv(path)


def row(
    name: str = "Oddpox", symptoms: str = "['Spots']", cause: str = "A virus.", rest: str = "[],[]"
) -> str:
    return f'7,{name},"{symptoms}","{cause}",{rest}'


def test_the_layout_with_causes(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        FULL,
        "0,Oddpox,\"['Spots', 'Fever']\",\" Odd. \",\"['Swab']\",\"['Oddavir (Oddex)', 'Zinc']\"",
    )
    assert list(table) == [
        Disease(
            name="Oddpox",
            symptoms=("Spots", "Fever"),
            cause="Odd.",
            tests=("Swab",),
            medications=(Medication("Oddavir (Oddex)"), Medication("Zinc")),
            source="diseases.csv",
            line=2,
        )
    ]
    assert table.problems == ()
    assert table.source == "diseases.csv"


def test_the_layout_without_causes(tmp_path: Path) -> None:
    (disease,) = table_of(tmp_path, TESTS, "0,Oddpox,['Spots'],\"['Swab', 'Scan']\",['Zinc']")
    assert (disease.cause, disease.tests, disease.medications) == (
        "",
        ("Swab", "Scan"),
        (Medication("Zinc"),),
    )


def test_the_layout_of_names_and_symptoms(tmp_path: Path) -> None:
    (disease,) = table_of(tmp_path, NAMES, "Oddpox,\"['Spots', 'Fever']\"")
    assert disease == Disease("Oddpox", ("Spots", "Fever"), source="diseases.csv", line=2)


@pytest.mark.parametrize(
    "header",
    [
        "Symptom,disease",
        "DISEASE,symptom",
        " disease , Symptom ",
        "idx,disease,symptom",
        "\ufeffdisease,Symptom",
    ],
)
def test_headers_are_matched_without_regard_to_order_and_case(tmp_path: Path, header: str) -> None:
    cells = {"disease": "Oddpox", "symptom": "['Spots']", "idx": "3"}
    line = ",".join(cells[title.strip("\ufeff ").lower()] for title in header.split(","))
    (disease,) = table_of(tmp_path, header, line)
    assert (disease.name, disease.symptoms) == ("Oddpox", ("Spots",))


def test_an_underscore_for_a_space_in_a_header_is_no_matter(tmp_path: Path) -> None:
    assert len(table_of(tmp_path, "disease,Symptom,medical_tests,medications", "Oddpox,['Spots'],[],[]")) == 1


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        (row(symptoms="['Sore, dry eyes', 'Spots; many']"), "symptoms", ("Sore, dry eyes", "Spots; many")),
        (row(symptoms='[\'Spots\', ""Farmer\'s cough""]'), "symptoms", ("Spots", "Farmer's cough")),
        (row(symptoms=r"['Rotator\'s ache']"), "symptoms", ("Rotator's ache",)),
        (row(symptoms="['Spots',\r\n 'Fever']"), "symptoms", ("Spots", "Fever")),
        (row(symptoms="['Spots', ' spots ', '']"), "symptoms", ("Spots",)),
        (row(name=r"Rotator\'s elbow"), "name", "Rotator's elbow"),
        (row(name="  Oddpox\t"), "name", "Oddpox"),
        (row(cause=r" It\'s odd,\r\nand old, "), "cause", "It's odd, and old"),
        (row(cause="Two\r\nlines."), "cause", "Two lines."),
        (row(cause=r"1 \xe2\x80\x93 2."), "cause", "1 \u2013 2."),
        (row(cause=" oddavir (oddex), "), "cause", ""),
        (row(cause=""), "cause", ""),
        (row(rest="[],['Zinc']"), "tests", ()),
        (row(rest="['Swab'],[]"), "medications", ()),
    ],
)
def test_messy_cells_are_read(tmp_path: Path, line: str, field: str, value: object) -> None:
    table = table_of(tmp_path, FULL, line)
    assert table.problems == ()
    assert getattr(table[0], field) == value


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row(symptoms="Spots, fever"), "column 'Symptom': expected a Python list of strings such as"),
        (row(symptoms="['Spots'"), "column 'Symptom': expected ] at the end of the list"),
        (row(symptoms="['Spots', ['Fever']]"), "column 'Symptom': expected a quoted string at character 11"),
        (row(symptoms="[" * 50_000), "found a list within the list"),
        (row(symptoms="['" + "x" * 70_000 + "']"), "expected at most 65,536 characters in a cell"),
        (row(symptoms="[]"), "column 'Symptom': expected at least one symptom, found none"),
        (row(symptoms="['', ' ']"), "column 'Symptom': expected at least one symptom, found none"),
        (row(name=""), "column 'disease': expected a name, found none"),
        (row(name="\\"), "column 'disease': expected a name, found none"),
        (
            row(rest=",[]"),
            "column 'TestsAndProcedures': expected a Python list of strings, found an empty cell",
        ),
        (row(rest="[],None"), "column 'commonMedications': expected a Python list of strings such as"),
        (row(rest="[]"), "expected 6 cells, as in the header, found 5"),
        (row(rest="[],[],"), "expected 6 cells, as in the header, found 7"),
        (row(cause="nul \0"), "found a NUL character in cell 4"),
        (",,,,,", "column 'disease': expected a name, found none"),
        (row(name='"Odd"pox'), "expected a comma after a closing quote"),
    ],
)
def test_a_row_that_cannot_be_read_is_a_problem_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    good = row(name="Evenpox")
    table = table_of(tmp_path, FULL, row(cause="Two\r\nlines."), line, good)
    assert [disease.name for disease in table] == ["Oddpox", "Evenpox"]
    (problem,) = table.problems
    assert problem.line == 4
    assert reason in problem.reason
    assert str(problem) == f"line 4: {problem.reason}"
    assert "Spots" not in problem.reason


def test_rows_of_one_name_are_kept_and_counted_but_not_one_row_twice(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, NAMES, "Oddpox,['Spots']", "oddpox,['Fever']", "Oddpox,['Spots']", "Evenpox,['Spots']"
    )
    assert [(disease.name, disease.line) for disease in table] == [
        ("Oddpox", 2),
        ("oddpox", 3),
        ("Evenpox", 5),
    ]
    assert table.problems == (TableProblem(4, "expected a new row, found the row of line 2 word for word"),)
    assert table.repairs == {"rows kept that share their name with another": 2}


def test_what_was_mended_is_counted(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        FULL,
        row(name=r"Rotator\'s pox", cause=r"It\'s odd, "),
        row(name="Evenpox", cause="zinc,", symptoms="['Spots', 'spots']"),
        row(name="Broken", symptoms="["),
        row(name="Clean", cause="  Odd.  "),
    )
    assert table.repairs == {
        "backslashes taken out of 'disease'": 1,
        "backslashes taken out of 'reason'": 1,
        "commas taken off the end of 'reason'": 1,
        "text that is no cause taken out of 'reason'": 1,
        "list entries cleaned, or left out as empty or repeated": 1,
        "rows kept whose idx is missing or repeated (it is not used)": 2,
    }


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "found an empty file"),
        ("\r\n \r\n", "found an empty file"),
        ("name,icd\nOddpox,X\n", "found name,icd;"),
        ("idx,disease,Symptom,reason\n", "found idx,disease,Symptom,reason;"),
        ("disease,Symptom,symptom\n", "found disease,Symptom,symptom;"),
        ("disease;Symptom\nOddpox;['Spots']\n", "found one column with other separators in it"),
        ("I have had a sore throat for days,help\n", "found 2 cells that are no column names"),
        ('[{"instruction": "x"}]', "found 1 cells that are no column names"),
        ('"disease,Symptom\n', "found a line that is not CSV"),
    ],
)
def test_another_layout_is_refused_in_one_sentence(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(content, encoding="utf-8", newline="")
    with pytest.raises(DataFormatError) as caught:
        DiseaseTable.from_csv(path)
    message = str(caught.value)
    assert message.startswith(
        f"Expected the first line of {path} to be one of the headers {FULL}, or {TESTS}, or {NAMES}"
    )
    assert found in message
    assert "choose another file." in message
    assert "sore throat" not in message


def test_a_table_with_no_usable_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataFormatError, match=r"Expected rows of diseases below the header of .*, found none; add rows"
    ):
        table_of(tmp_path, NAMES)
    with pytest.raises(DataFormatError, match=r"the only row cannot be used \(line 2: expected 2 cells"):
        table_of(tmp_path, NAMES, "Oddpox")
    with pytest.raises(DataFormatError, match=r"none of the 2 rows can be used \(line 2: column 'Symptom'"):
        table_of(tmp_path, NAMES, "Oddpox,[]", "Evenpox,[")


def test_strict_turns_the_first_problem_into_an_error(tmp_path: Path) -> None:
    path = tmp_path / "diseases.csv"
    path.write_text(f"{NAMES}\nOddpox,['Spots']\nEvenpox,Spots\nLast,[\n", encoding="utf-8")
    assert len(DiseaseTable.from_csv(path).problems) == 2
    with pytest.raises(DataFormatError) as caught:
        DiseaseTable.from_csv(path, strict=True)
    message = str(caught.value)
    assert message.startswith("Expected every row of diseases.csv to be readable, found at line 3: column")
    assert "Evenpox" not in message
    path.write_text(f"{NAMES}\nOddpox,['Spots']\n", encoding="utf-8")
    assert DiseaseTable.from_csv(path, strict=True).problems == ()


def test_the_cells_are_kept_as_they_were(tmp_path: Path) -> None:
    (disease,) = table_of(tmp_path, FULL, row(name=r" Rotator\'s  pox", cause=r" It\'s odd, "))
    assert disease.raw == {
        "idx": "7",
        "disease": r" Rotator\'s  pox",
        "Symptom": "['Spots']",
        "reason": r" It\'s odd, ",
        "TestsAndProcedures": "[]",
        "commonMedications": "[]",
    }
    assert (disease.name, disease.cause) == ("Rotator's pox", "It's odd")
    assert "raw" not in repr(disease)
    assert disease == dataclasses.replace(disease, raw={})
    assert hash(disease) == hash(dataclasses.replace(disease, raw={}))


@pytest.mark.parametrize("header", ["ICD10", "icd_10_cm", "ICD-10-CM"])
@pytest.mark.parametrize(
    ("code", "icd10cm"), [("E11.9", "E11.9"), ("e119", "E11.9"), (" G35 ", "G35"), ("", ""), ("nan", "")]
)
def test_icd_codes_are_read_from_any_layout(tmp_path: Path, header: str, code: str, icd10cm: str) -> None:
    table = table_of(tmp_path, f"{NAMES},{header}", f"Oddpox,['Spots'],{code}")
    assert table[0].icd10cm == icd10cm
    assert table.problems == ()
    table = table_of(tmp_path, f"{header},{FULL}", f"{code},{row()}")
    assert table[0].icd10cm == icd10cm


@pytest.mark.parametrize(
    ("cell", "doid"),
    [
        ("DOID:9352", "DOID:9352"),
        ("doid_9352", "DOID:9352"),
        ("9352", "DOID:9352"),
        ("9352.0", "DOID:9352"),
        ("http://purl.obolibrary.org/obo/DOID_9352", "DOID:9352"),
        ("", ""),
    ],
)
def test_disease_ontology_ids_take_one_form(tmp_path: Path, cell: str, doid: str) -> None:
    (disease,) = table_of(tmp_path, f"{NAMES},DOID,ICD10", f"Oddpox,['Spots'],{cell},E11.9")
    assert (disease.doid, disease.icd10cm) == (doid, "E11.9")


def test_a_malformed_link_is_a_problem_and_not_the_loss_of_the_row(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, f"{NAMES},DOID,ICD10", "Oddpox,['Spots'],MESH:D1,11.9", "Evenpox,['Spots'],1,E11"
    )
    assert [(d.name, d.doid, d.icd10cm) for d in table] == [("Oddpox", "", ""), ("Evenpox", "DOID:1", "E11")]
    assert [(problem.line, problem.lost) for problem in table.problems] == [(2, False), (2, False)]
    reasons = " ".join(problem.reason for problem in table.problems)
    assert "column 'DOID': expected a Disease Ontology id such as" in reasons
    assert "column 'ICD10': expected an ICD-10-CM code such as" in reasons
    assert "MESH" not in reasons
    with pytest.raises(DataFormatError, match="column 'ICD10'"):
        DiseaseTable.from_csv(tmp_path / "diseases.csv", strict=True)


def test_two_columns_for_one_link_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="Expected the first line of"):
        table_of(tmp_path, f"{NAMES},ICD10,ICD-10-CM", "Oddpox,['Spots'],E11,E11")


def test_odd_characters_and_ids_are_mended_and_counted(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        f"idx,{NAMES}",
        "NaN,Odd\u202epox\u200f,['Spo\u0007ts']",
        "1,NaN,['Spots']",
        "1,<b>Evenpox</b>,['Spots']",
        "1,Lastpox,nan",
        "1,Endpox,['Spots']",
    )
    assert [(d.name, d.symptoms) for d in table] == [
        ("Oddpox", ("Spots",)),
        ("<b>Evenpox</b>", ("Spots",)),  # markup is text here: what shows it must escape it
        ("Endpox", ("Spots",)),
    ]
    assert table[0].raw["disease"] == "Odd\u202epox\u200f"
    assert [problem.line for problem in table.problems] == [3, 5]
    assert table.repairs["invisible characters taken out of 'disease'"] == 1
    assert table.repairs["rows kept whose idx is missing or repeated (it is not used)"] == 2


def test_rows_in_another_encoding_are_problems(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    rows = [b"Oddpox,['Spots']", "M\u00e9ni\u00e8re,['Spots']".encode("latin-1")]
    path.write_bytes(
        b"\xef\xbb\xbf" + b"\n".join([NAMES.encode(), *rows, "M\u00e9ni\u00e8re,['x']".encode()])
    )
    table = DiseaseTable.from_csv(path)
    assert [disease.name for disease in table] == ["Oddpox", "M\u00e9ni\u00e8re"]
    (problem,) = table.problems
    assert problem.line == 3
    assert "expected UTF-8" in problem.reason


@pytest.mark.parametrize("before", ["", '"'])
def test_a_cell_of_a_hundred_megabytes_is_one_problem(tmp_path: Path, before: str) -> None:
    path = tmp_path / "huge.csv"
    with path.open("w", encoding="utf-8") as stream:
        stream.write(f"{NAMES}\nOddpox,{before}['")
        for _ in range(100):
            stream.write("x" * (1 << 20))
        stream.write(f"']{before}\nEvenpox,['Spots']\n")
    start = time.process_time()
    tracemalloc.start()
    table = DiseaseTable.from_csv(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [disease.name for disease in table] == ["Evenpox"]
    (problem,) = table.problems
    assert str(problem) == "line 2: expected at most 262,144 characters in a row, found more"
    assert peak < 16 << 20
    assert time.process_time() - start < 20


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataNotFoundError, match=r"Expected a CSV file at .*nowhere.csv, found nothing there; check"
    ):
        DiseaseTable.from_csv(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError):
        DiseaseTable.from_csv(str(tmp_path))


WORDS = st.text(st.characters(exclude_characters="\0\\\r", exclude_categories=["Cs"]), max_size=30)
NOTHING = {"nan", "none", "null", "n/a", "na", "-"}
NAME = WORDS.map(clean_text).filter(bool).filter(lambda text: text.casefold() not in NOTHING)
CAUSE = WORDS.map(clean_cause).filter(lambda text: text.casefold() not in NOTHING)
ENTRIES = st.lists(WORDS, max_size=4).map(clean_list)
ROWS = st.lists(
    st.tuples(NAME, ENTRIES.filter(bool), CAUSE, ENTRIES, ENTRIES), min_size=1, max_size=5, unique=True
)


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8", "utf-8-sig"]))
def test_any_clean_table_is_read_back_as_it_was_written(rows: list, end: str, encoding: str) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator=end)
    writer.writerow(FULL.split(","))
    for number, (name, symptoms, cause, tests, drugs) in enumerate(rows):
        writer.writerow([number, name, list(symptoms), f" {cause} ", list(tests), list(drugs)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "written.csv"
        path.write_bytes(stream.getvalue().encode(encoding))
        table = DiseaseTable.from_csv(path)
    assert table.problems == ()
    assert [
        (d.name, d.symptoms, d.cause, d.tests, tuple(m.name for m in d.medications)) for d in table
    ] == rows


@given(st.binary(max_size=300) | st.text(alphabet="[]'\",\\\n\r\0x41 ab", max_size=300).map(str.encode))
@example(b'7,Oddpox,"[')
def test_any_bytes_below_a_header_are_rows_problems_or_one_of_our_errors(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "garbage.csv"
        path.write_bytes(f"{NAMES}\nOddpox,['Spots']\n".encode() + content)
        try:
            table = DiseaseTable.from_csv(path)
        except ChatDoctorError:
            return  # the test below looks at the messages
    lines = [disease.line for disease in table] + [problem.line for problem in table.problems]
    assert len(lines) == len(set(lines))
    assert all(disease.name and disease.symptoms for disease in table)


@given(st.binary(max_size=200))
def test_any_bytes_alone_are_a_table_or_one_of_our_errors(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "garbage.csv"
        path.write_bytes(content)
        with pytest.raises(ChatDoctorError, match=r"^Expected "):
            DiseaseTable.from_csv(path)

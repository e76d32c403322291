"""One row of a disease table, from its cells: what CSV, JSON Lines and Parquet files have in common.

    idx,disease,Symptom,reason,TestsAndProcedures,commonMedications     796 rows in the published file
    idx,disease,Symptom,Medical Tests,Medications                       100 rows
    disease,Symptom                                                      12 rows

Those are the three layouts in which ChatDoctor's table is in circulation (arXiv 2303.14070). Symptoms, tests and
medications are lists, in CSV Python list literals inside a cell. Any layout may have a column with ICD-10-CM
codes (ICD10, ICD-10-CM, …) and one with Disease Ontology ids (DOID). Column names are matched without regard to
order, letter case, spaces, hyphens and underscores; `idx` is not used and may be missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.knowledge.disease import Disease, Medication
from chatdoctor_hub.knowledge.tables.cleaning import clean_cause, clean_list, clean_text, has_hidden
from chatdoctor_hub.knowledge.tables.literals import read_list

__all__ = ["HEADERS", "RowReader", "TableProblem", "match_columns"]

# What a column's plain name is in each layout, in the order of the published files.
_LAYOUTS: tuple[dict[str, str], ...] = (
    {
        "disease": "name",
        "Symptom": "symptoms",
        "reason": "cause",
        "TestsAndProcedures": "tests",
        "commonMedications": "medications",
    },
    {"disease": "name", "Symptom": "symptoms", "Medical Tests": "tests", "Medications": "medications"},
    {"disease": "name", "Symptom": "symptoms"},
)

HEADERS = ", or ".join(",".join(("idx", *layout) if len(layout) > 2 else layout) for layout in _LAYOUTS)
"""The three headers, for messages."""

_LINKS = {
    "icd10": "icd10cm",
    "icd10cm": "icd10cm",
    "icd10code": "icd10cm",
    "icd10cmcode": "icd10cm",
    "doid": "doid",
}
_ICD = re.compile(r"([A-Z][0-9][0-9AB])\.?([0-9A-Z]{0,4})")
_DOID = re.compile(r"(?:HTTPS?://PURL\.OBOLIBRARY\.ORG/OBO/)?(?:DOID[:_ ]?)?([0-9]{1,7})(?:\.0)?")
_NOTHING = frozenset(("", "nan", "none", "null", "n/a", "na", "-"))


@dataclass(frozen=True)
class TableProblem:
    """Something in a table that could not be read: a row, or one value of a row that is kept without it.

    Args:
        line: the physical line of the file (from 1) on which the row starts; in a Parquet file the row.
        reason: what was expected and what was found; nothing of the row is quoted.
        lost: whether the whole row was left out.
    """

    line: int
    reason: str
    lost: bool = True

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True)
class _Column:
    title: str  # as published
    field: str  # of Disease
    place: int  # in the record, from 0


def match_columns(titles: Sequence[str]) -> tuple[_Column, ...] | None:
    """The columns of a file, if they are those of a layout; those that are read, the name first."""
    places: dict[str, int] = {}
    for place, title in enumerate(titles):
        places.setdefault(_plain(title), place)
    if len(places) != len(titles):  # a column twice
        return None
    places.pop("idx", None)
    links = {field: plain for plain, field in _LINKS.items() if plain in places}
    if len(links) != sum(plain in places for plain in _LINKS):
        return None
    for layout in _LAYOUTS:
        known = {_plain(title): title for title in layout}
        if known.keys() | links.values() == places.keys():
            columns = [_Column(known[plain], layout[known[plain]], places[plain]) for plain in known]
            for field, plain in links.items():
                columns.append(_Column(titles[places[plain]].strip(), field, places[plain]))
            return tuple(columns)
    return None


def _plain(title: str) -> str:
    return re.sub(r"[\s_-]+", "", title).casefold()


class RowReader:
    """Reads the rows of one file, and notes what is wrong with them.

    Args:
        columns: from `match_columns`.
        titles: of all columns of the file.
        source: the name of the file, for each fact.
        strict: raise at the first problem.
    """

    def __init__(
        self, columns: tuple[_Column, ...], titles: Sequence[str], source: str, *, strict: bool = False
    ) -> None:
        self._columns = columns
        self._titles = [title.strip() for title in titles]
        self._id = next((n for n, title in enumerate(titles) if _plain(title) == "idx"), None)
        self._source = source
        self._strict = strict
        self._first_line: dict[tuple[object, ...], int] = {}
        self._ids: set[str] = set()
        self.diseases: list[Disease] = []
        self.problems: list[TableProblem] = []
        self.repairs: Counter[str] = Counter()

    def fail(self, line: int, reason: str, *, lost: bool = True) -> None:
        """Note a problem.

        Raises:
            DataFormatError: when strict.
        """
        problem = TableProblem(line, reason, lost)
        if self._strict:
            raise DataFormatError(
                f"Expected every row of {self._source} to be readable, found at {problem}; mend it, or read without strict."
            )
        self.problems.append(problem)

    def read(self, line: int, cells: Sequence[str | Sequence[str]]) -> None:
        """Read a row; it goes to `diseases` or to `problems`."""
        mended: Counter[str] = Counter()
        try:
            disease, faults = self._disease(line, cells, mended)
        except ValueError as error:
            self.fail(line, str(error))
            return
        content = (disease.name, disease.symptoms, disease.cause, disease.tests, disease.medications)
        earlier = self._first_line.setdefault((*content, disease.icd10cm, disease.doid), line)
        if earlier != line:
            self.fail(line, f"expected a new row, found the row of line {earlier} word for word")
            return
        for fault in faults:
            self.fail(line, fault, lost=False)
        self._note_id(cells)
        self.repairs.update(mended)
        self.diseases.append(disease)

    def finish(self) -> None:
        """Count what can only be counted at the end."""
        names = Counter(disease.name.casefold() for disease in self.diseases)
        shared = sum(n for n in names.values() if n > 1)
        self.repairs["rows kept that share their name with another"] = shared
        self.repairs = +self.repairs

    def _note_id(self, cells: Sequence[str | Sequence[str]]) -> None:
        if self._id is None:
            return
        number = str(cells[self._id]).strip().casefold()
        if number in _NOTHING or number in self._ids:
            self.repairs["rows kept whose idx is missing or repeated (it is not used)"] += 1
        self._ids.add(number)

    def _disease(
        self, line: int, cells: Sequence[str | Sequence[str]], mended: Counter[str]
    ) -> tuple[Disease, list[str]]:
        """The row as a Disease, with the values that were left out; a ValueError tells why there is none."""
        texts = {"name": "", "cause": "", "icd10cm": "", "doid": ""}
        lists: dict[str, tuple[str, ...]] = {"symptoms": (), "tests": (), "medications": ()}
        faults: list[str] = []
        for column in self._columns:
            cell = cells[column.place]
            if column.field in lists:
                lists[column.field] = _list(column, cell, mended)
                continue
            text = cell if isinstance(cell, str) else ", ".join(cell)
            if column.field in ("icd10cm", "doid"):
                texts[column.field], fault = _link(column, text)
                faults += [fault] if fault else []
                continue
            cleaned = clean_cause(text) if column.field == "cause" else clean_text(text)
            texts[column.field] = cleaned = "" if cleaned.casefold() in _NOTHING else cleaned
            _note_text(column.title, text, cleaned, mended)
            if column.field == "name" and not cleaned:
                raise ValueError("column 'disease': expected a name, found none")
        if not lists["symptoms"]:
            raise ValueError("column 'Symptom': expected at least one symptom, found none")
        disease = Disease(
            name=texts["name"],
            cause=texts["cause"],
            icd10cm=texts["icd10cm"],
            doid=texts["doid"],
            symptoms=lists["symptoms"],
            tests=lists["tests"],
            medications=tuple(Medication(name) for name in lists["medications"]),
            source=self._source,
            line=line,
            raw=dict(
                zip(self._titles, (c if isinstance(c, str) else repr(list(c)) for c in cells), strict=True)
            ),
        )
        return disease, faults


def _list(column: _Column, cell: str | Sequence[str], mended: Counter[str]) -> tuple[str, ...]:
    try:
        items = read_list(cell) if isinstance(cell, str) else tuple(cell)
    except ValueError as error:
        raise ValueError(f"column {column.title!r}: {error}") from error
    cleaned = clean_list(items)
    mended["list entries cleaned, or left out as empty or repeated"] += len(set(items) - set(cleaned))
    return cleaned


def _link(column: _Column, cell: str) -> tuple[str, str]:
    """A code in its usual form, or "" with what is wrong."""
    text = clean_text(cell)
    if text.casefold() in _NOTHING:
        return "", ""
    if column.field == "icd10cm":
        if found := _ICD.fullmatch(text.upper()):
            return found[1] + (f".{found[2]}" if found[2] else ""), ""
        return "", f"column {column.title!r}: expected an ICD-10-CM code such as E11.9, found another form"
    if found := _DOID.fullmatch(text.upper()):
        return f"DOID:{found[1]}", ""
    return (
        "",
        f"column {column.title!r}: expected a Disease Ontology id such as DOID:9352, found another form",
    )


def _note_text(title: str, cell: str, cleaned: str, mended: Counter[str]) -> None:
    """Count what cleaning did, so that a run can say it; outer white space does not count."""
    if "\\" in cell:
        mended[f"backslashes taken out of {title!r}"] += 1
    if has_hidden(cell):
        mended[f"invisible characters taken out of {title!r}"] += 1
    if cell.strip() and not cleaned:
        mended[f"text that is no cause taken out of {title!r}"] += 1
    elif cell.rstrip().endswith(",") and not cleaned.endswith(","):
        mended[f"commas taken off the end of {title!r}"] += 1

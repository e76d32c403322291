"""The three CSV layouts in which ChatDoctor's disease table is in circulation (arXiv 2303.14070).

    idx,disease,Symptom,reason,TestsAndProcedures,commonMedications     796 rows in the published file
    idx,disease,Symptom,Medical Tests,Medications                       100 rows
    disease,Symptom                                                      12 rows

Symptoms, tests and medications are Python list literals inside a cell. Column names are matched without
regard to order, letter case, spaces and underscores; `idx` is not used and may be missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.knowledge.cleaning import clean_cause, clean_list, clean_text
from chatdoctor_hub.knowledge.csv_records import Record, read_records
from chatdoctor_hub.knowledge.disease import Disease, Medication
from chatdoctor_hub.knowledge.literals import read_list

__all__ = ["CsvTable", "TableProblem", "read_csv"]


@dataclass(frozen=True)
class TableProblem:
    """A row that could not be read.

    Args:
        line: the physical line of the file (from 1) on which the row starts.
        reason: what was expected and what was found; nothing of the row is quoted.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True)
class CsvTable:
    """What was read from a file: its rows, the rows that could not be read, and what was mended."""

    diseases: tuple[Disease, ...]
    problems: tuple[TableProblem, ...]
    repairs: dict[str, int]


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

_COLUMN_NAME = re.compile(r"\w{1,24}(?:[ ._-]\w{1,24}){0,2}")


@dataclass(frozen=True)
class _Column:
    title: str  # as published
    field: str  # of Disease
    place: int  # in the record, from 0


def read_csv(path: Path) -> CsvTable:
    """Read a disease table in one of the three layouts.

    Every row of the file is either in `diseases` or in `problems`. Rows that share a name are all kept
    when they differ (two accounts of one disease are both facts); a row that says the same as an earlier
    one, word for word, is a problem.

    Raises:
        DataNotFoundError: the file is missing or cannot be read.
        DataFormatError: it is not UTF-8, has another layout, or no row of it can be used.
    """
    records = read_records(path)
    columns = _match_header(next(records, None), path)
    repairs: Counter[str] = Counter()
    diseases: list[Disease] = []
    problems: list[TableProblem] = []
    for item in _rows(records, columns, path.name, repairs):
        if isinstance(item, TableProblem):
            problems.append(item)
        else:
            diseases.append(item)
    if not diseases:
        raise DataFormatError(_no_rows(path, problems))
    names = Counter(disease.name.casefold() for disease in diseases)
    repairs["rows kept that share their name with another"] = sum(n for n in names.values() if n > 1)
    return CsvTable(tuple(diseases), tuple(problems), {what: n for what, n in repairs.items() if n})


def _rows(
    records: Iterator[Record], columns: tuple[_Column, ...], source: str, repairs: Counter[str]
) -> Iterator[Disease | TableProblem]:
    first_line: dict[tuple[object, ...], int] = {}
    for record in records:
        if record.fault:
            yield TableProblem(record.line, record.fault)
            continue
        mended: Counter[str] = Counter()
        try:
            disease = _read_row(record, columns, source, mended)
        except ValueError as error:
            yield TableProblem(record.line, str(error))
            continue
        content = (disease.name, disease.symptoms, disease.cause, disease.tests, disease.medications)
        earlier = first_line.setdefault(content, record.line)
        if earlier != record.line:
            reason = f"expected a new row, found the row of line {earlier} word for word"
            yield TableProblem(record.line, reason)
        else:
            repairs.update(mended)
            yield disease


def _read_row(record: Record, columns: tuple[_Column, ...], source: str, mended: Counter[str]) -> Disease:
    """One row as a Disease; a ValueError names the column and what is wrong with it."""
    text = {"name": "", "cause": ""}
    lists: dict[str, tuple[str, ...]] = {"symptoms": (), "tests": (), "medications": ()}
    for column in columns:
        cell = record.cells[column.place]
        if column.field in text:
            cleaner: Callable[[str], str] = clean_cause if column.field == "cause" else clean_text
            text[column.field] = cleaner(cell)
            _note_text(column.title, cell, text[column.field], mended)
            if not text["name"]:  # the first of the columns
                raise ValueError("column 'disease': expected a name, found none")
        else:
            try:
                items = read_list(cell)
            except ValueError as error:
                raise ValueError(f"column {column.title!r}: {error}") from error
            lists[column.field] = clean_list(items)
            kept = set(lists[column.field])
            mended["list entries cleaned, or left out as empty or repeated"] += len(set(items) - kept)
    if not lists["symptoms"]:
        raise ValueError("column 'Symptom': expected at least one symptom, found none")
    return Disease(
        name=text["name"],
        symptoms=lists["symptoms"],
        cause=text["cause"],
        tests=lists["tests"],
        medications=tuple(Medication(name) for name in lists["medications"]),
        source=source,
        line=record.line,
    )


def _note_text(title: str, cell: str, cleaned: str, mended: Counter[str]) -> None:
    """Count what cleaning did, so that a run can say it; outer white space does not count."""
    if "\\" in cell:
        mended[f"backslashes taken out of {title!r}"] += 1
    if cell.strip() and not cleaned:
        mended[f"text that is no cause taken out of {title!r}"] += 1
    elif cell.rstrip().endswith(",") and not cleaned.endswith(","):
        mended[f"commas taken off the end of {title!r}"] += 1


def _plain(title: str) -> str:
    return re.sub(r"[\s_]+", "", title).casefold()


def _match_header(header: Record | None, path: Path) -> tuple[_Column, ...]:
    cells = header.cells if header else ()
    places: dict[str, int] = {}
    for place, title in enumerate(cells):
        places.setdefault(_plain(title), place)
    if len(places) == len(cells):  # no column twice
        places.pop("idx", None)
        for layout in _LAYOUTS:
            titles = {_plain(title): title for title in layout}
            if titles.keys() == places.keys():
                return tuple(_Column(titles[plain], layout[titles[plain]], places[plain]) for plain in titles)
    expected = ", or ".join(",".join(("idx", *layout) if len(layout) > 2 else layout) for layout in _LAYOUTS)
    raise DataFormatError(
        f"Expected the first line of {path} to be one of the headers {expected}, found {_describe(header)}; "
        "give the columns these names, or choose another file."
    )


def _describe(header: Record | None) -> str:
    """The header that was found, quoted only where it looks like one: it may be a line of someone's words."""
    if header is None:
        return "an empty file"
    if header.fault:
        return f"a line that is not CSV ({header.fault})"
    titles = [title.strip() for title in header.cells]
    if len(titles) <= 16 and all(_COLUMN_NAME.fullmatch(title) or not title for title in titles):
        return ",".join(titles)
    if len(titles) == 1 and re.search(r"[;\t|]", titles[0]):
        return "one column with other separators in it, where commas are needed"
    return f"{len(titles)} cells that are no column names"


def _no_rows(path: Path, problems: list[TableProblem]) -> str:
    if not problems:
        return (
            f"Expected rows of diseases below the header of {path}, found none; "
            "add rows, or choose another file."
        )
    rows = "the only row" if len(problems) == 1 else f"none of the {len(problems):,} rows"
    verb = "cannot" if len(problems) == 1 else "can"
    return (
        f"Expected rows that can be read below the header of {path}, found that {rows} {verb} be used "
        f"({problems[0]}); mend the file, or choose another."
    )

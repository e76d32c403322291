"""`Tally`: what a whole source turned out to be, for the one sentence when nothing of it can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatdoctor_hub.corpus.reading.layouts import KNOWN_LAYOUTS, Layout
from chatdoctor_hub.corpus.reading.records import Fault, Record, RecordProblem, json_kind
from chatdoctor_hub.corpus.reading.repair import NO_DOCTOR, UnknownLayoutError, UnusableRecordError
from chatdoctor_hub.errors import DataFormatError

__all__ = ["Tally"]

# So many records of no known layout, and none of a known one, make a file of another kind.
_ENOUGH = 100


class Tally:
    """Counts of a source's records by what became of them.

    Args:
        place: the path or Hub id, for messages.
        name: of the published set that it should be, or "".
        layouts: those that are expected, or none in particular.
    """

    def __init__(self, place: str, name: str = "", layouts: tuple[Layout, ...] = ()) -> None:
        self._place = place
        self._name = name
        self._layouts = layouts
        self.usable = 0
        self.problems = 0
        self._without_doctor = 0
        self._of_other_layout = 0
        self._first_problem: RecordProblem | None = None
        self._first_fault: Fault | None = None
        self._file_faults = 0
        self._first_value: Any = None

    def note(self, problem: RecordProblem, record: Record, error: UnusableRecordError) -> None:
        """Count a record that cannot be used.

        Raises:
            DataFormatError: once it is plain that the source is of another layout.
        """
        self.problems += 1
        self._first_problem = self._first_problem or problem
        if record.fault:
            self._first_fault = self._first_fault or record.fault
            self._file_faults += record.fault.kind in ("json", "encoding")
        elif isinstance(error, UnknownLayoutError):
            if not self._of_other_layout:
                self._first_value = record.value
            self._of_other_layout += 1
        elif problem.reason.startswith(NO_DOCTOR):
            self._without_doctor += 1
        if not self.usable and self._of_other_layout == self.problems == _ENOUGH:
            raise self._layout_error()

    def verdict(self) -> DataFormatError | None:
        """Why nothing of the source can be used, or None where something can."""
        if self.usable:
            return None
        if not self.problems:
            return self._layout_error()
        if self._file_faults == self.problems and self._first_fault:
            return self._file_error(self._first_fault)
        known = self.problems - self._of_other_layout - self._file_faults
        if not known:
            return self._layout_error()
        return self._nothing_usable()

    def _file_error(self, fault: Fault) -> DataFormatError:
        if fault.kind == "encoding":
            return DataFormatError(
                f"Expected {self._place} to be text in UTF-8, found {fault.where}; save it again as UTF-8."
            )
        return DataFormatError(
            f"Expected {self._place} to be JSON, {KNOWN_LAYOUTS}, found {fault.where}; correct it or export the "
            "file again."
        )

    def _layout_error(self) -> DataFormatError:
        value = self._first_value
        found = "no record at all"
        if isinstance(value, Mapping):
            # A key could be anybody's words unless it looks like a column's name.
            names = sorted(key for key in value if key.isidentifier() and len(key) <= 30)[:8]
            found = f"records with the keys {', '.join(names)}" if names else "records with other keys"
        elif self.problems:
            found = f"{json_kind(value)} as its first record"
        if self._layouts:
            shown = " or ".join(layout.shown for layout in self._layouts)
            return DataFormatError(
                f"Expected {self._place} to hold records of {self._name!r} ({shown}), found {found}; leave the "
                "adapter out, or name that of the set which the file is from."
            )
        return DataFormatError(
            f"Expected {self._place} to hold {KNOWN_LAYOUTS}, found {found}; convert it to one of these."
        )

    def _nothing_usable(self) -> DataFormatError:
        if self._without_doctor == self.problems:
            return DataFormatError(
                f"Expected {self._place} to hold dialogues with a doctor's turn, found {self.problems} record(s) "
                "and not one doctor turn in them; add the doctor's answers ('output', or messages of role "
                "'assistant')."
            )
        return DataFormatError(
            f"Expected {self._place} to hold at least one usable dialogue, found none in {self.problems} "
            f"record(s), the first fault being {self._first_problem}; correct the records."
        )

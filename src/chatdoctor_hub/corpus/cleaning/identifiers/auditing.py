"""What de-identification is worth, measured: `audit`; and what it finds in your own data: `count_identifiers`."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.corpus.cleaning.identifiers.deidentification import Deidentifier
from chatdoctor_hub.corpus.cleaning.identifiers.kinds import KINDS
from chatdoctor_hub.corpus.cleaning.identifiers.planted import (
    Planted,
    SentenceSet,
    planted_texts,
    read_sentences,
)
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.proportion import Proportion

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["AuditReport", "IdentifierCounts", "audit", "clean_sentences", "count_identifiers"]

RECALL_BAR = 0.95
"""The least recall that a claimed kind should have."""
FALSE_CHANGE_BAR = 0.005
"""The largest share of clean sentences that should be changed."""

_FILLING = re.compile(r"\{(\w+)\}")
_SENTENCE_END = re.compile(r"(?<=[.!?]) ")


@dataclass(frozen=True)
class AuditReport:
    """How many planted identifiers were replaced, by kind, and how many clean sentences were changed.

    Args:
        recall: by kind: of the planted identifiers, how many have no letter or digit left.
        false_changes: by origin of the sentences ("written", "disease table", "own"): how many were changed.
        false_kinds: what the changed sentences were taken to hold, findings by kind.
        n: planted identifiers, and clean sentences without one's own.
        seed: of both.
        sentences: the set of carrier sentences, "held_out" unless asked otherwise.
    """

    recall: Mapping[str, Proportion]
    false_changes: Mapping[str, Proportion]
    false_kinds: Mapping[str, int]
    n: int
    seed: int
    sentences: str

    @property
    def all_false_changes(self) -> Proportion:
        """The false changes of all origins together."""
        parts = self.false_changes.values()
        return Proportion(sum(part.successes for part in parts), sum(part.n for part in parts))

    @property
    def failures(self) -> tuple[str, ...]:
        """The kinds whose recall is below the bar, and "false changes" where they are above theirs."""
        low = [kind for kind, found in self.recall.items() if found.rate < RECALL_BAR]
        return (*low, *(["false changes"] if self.all_false_changes.rate > FALSE_CHANGE_BAR else []))

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON, each proportion with its n and interval."""
        return {
            "sentences": self.sentences,
            "n": self.n,
            "seed": self.seed,
            "recall_bar": RECALL_BAR,
            "false_change_bar": FALSE_CHANGE_BAR,
            "recall": {kind: found.to_record() for kind, found in self.recall.items()},
            "false_changes": {origin: part.to_record() for origin, part in self.false_changes.items()},
            "all_false_changes": self.all_false_changes.to_record(),
            "false_kinds": dict(self.false_kinds),
            "failures": list(self.failures),
        }

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(
            title=f"De-identification, {self.sentences.replace('_', '-')} sentences, 95 % intervals"
        )
        table.add_column("kind")
        table.add_column("replaced of planted", justify="right")
        table.add_column("bar", justify="right")
        table.add_column("")
        for kind, found in self.recall.items():
            table.add_row(kind, str(found), f"≥ {100 * RECALL_BAR:g} %", _mark(kind not in self.failures))
        table.add_section()
        table.add_row("[b]clean sentences[/b]", "[b]changed[/b]")
        for origin, part in self.false_changes.items():
            table.add_row(origin, str(part))
        kept = "false changes" not in self.failures
        table.add_row("all", str(self.all_false_changes), f"≤ {100 * FALSE_CHANGE_BAR:g} %", _mark(kept))
        return table


def _mark(is_met: bool) -> str:
    return "met" if is_met else "[b]missed[/b]"


@dataclass(frozen=True)
class IdentifierCounts:
    """What was found in real dialogues: counts alone, never a value.

    Args:
        dialogues: read.
        changed: of these, with at least one finding.
        by_kind: findings by kind.
    """

    dialogues: int
    changed: int
    by_kind: Mapping[str, int]

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return {"dialogues": self.dialogues, "changed": self.changed, "by_kind": dict(self.by_kind)}

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(title=f"{self.changed:,} of {self.dialogues:,} dialogues hold identifiers")
        table.add_column("kind")
        table.add_column("found", justify="right")
        for kind, count in self.by_kind.items():
            table.add_row(kind, f"{count:,}")
        return table


def audit(
    deidentifier: Deidentifier | None = None,
    n: int = 1000,
    seed: int = 0,
    *,
    sentences: SentenceSet = "held_out",
    clean: Iterable[str] = (),
) -> AuditReport:
    """Measure recall on planted identifiers and false changes on clean sentences.

    Half of the clean sentences are written around what looks like an identifier (eponyms, doses, readings,
    codes, names that are words), half are drawn from the starter disease table.

    Args:
        deidentifier: what is measured, on the kinds that it finds; one for all kinds by default.
        n: planted identifiers, the kinds in turn, and clean sentences; at least one a kind.
        seed: of what is planted where and which sentences are drawn.
        sentences: which set of sentences; the rules were written with the development set in view.
        clean: texts of your own without identifiers, counted apart.

    Raises:
        ConfigError: n is smaller than the number of kinds.
        MissingExtraError: Presidio is not installed.
    """
    tool = deidentifier or Deidentifier()
    if n < max(2, len(tool.kinds)):
        raise ConfigError(
            f"Expected n to be at least {max(2, len(tool.kinds))}, one identifier a kind, found {n}; raise it."
        )
    outcomes: dict[str, list[bool]] = {kind: [] for kind in tool.kinds}
    for planted in planted_texts(n, seed, sentences, tool.kinds):
        outcomes[planted.kind].append(_is_gone(planted, tool))
    changed: dict[str, list[bool]] = {}
    kinds: Counter[str] = Counter()
    for origin, text in (*clean_sentences(n, seed, sentences), *(("own", text) for text in clean)):
        findings = tool.text(text)[1]
        changed.setdefault(origin, []).append(bool(findings))
        kinds.update(finding.kind for finding in findings)
    return AuditReport(
        recall={kind: Proportion.of(values) for kind, values in outcomes.items()},
        false_changes={origin: Proportion.of(values) for origin, values in changed.items()},
        false_kinds=dict(kinds.most_common()),
        n=n,
        seed=seed,
        sentences=sentences,
    )


def _is_gone(planted: Planted, tool: Deidentifier) -> bool:
    findings = tool.text(planted.text)[1]
    return all(
        any(finding.start <= place < finding.end for finding in findings)
        for place in range(planted.start, planted.end)
        if planted.text[place].isalnum()
    )


def clean_sentences(n: int, seed: int, sentences: SentenceSet = "held_out") -> Iterator[tuple[str, str]]:
    """`n` sentences without identifiers with their origin, "written" and "disease table" in turn."""
    sets = read_sentences("clean")[sentences]
    rng = random.Random(f"clean {sentences} {seed}")
    table = _table_sentences()
    order = [rng.sample(table, len(table)) for _ in range(1 + n // 2 // len(table))]
    drawn = [sentence for part in order for sentence in part]
    for number in range(n):
        if number % 2:
            yield "disease table", drawn[number // 2]
            continue
        part = sets[number // 2 % len(sets)]
        template = part["templates"][number // 2 // len(sets) % len(part["templates"])]
        yield "written", _filled(template, part["fillings"], rng)


def _filled(template: str, fillings: Mapping[str, list[str]], rng: random.Random) -> str:
    return _FILLING.sub(lambda slot: str(rng.choice(fillings[slot[1]])), template)


def _table_sentences() -> list[str]:
    found: set[str] = set()
    for disease in DiseaseTable.starter():
        for field in fields(Disease):
            value = getattr(disease, field.name)
            for text in value if isinstance(value, tuple) else (value,):
                found.update(_SENTENCE_END.split(str(text)))
    return sorted(found - {""})


def count_identifiers(
    dialogues: Iterable[Dialogue], deidentifier: Deidentifier | None = None
) -> IdentifierCounts:
    """What there is to find in dialogues, by kind, in the order of `KINDS`; nothing is changed or kept.

    Args:
        dialogues: read one by one, so a stream will do.
        deidentifier: one for all kinds by default.

    Raises:
        MissingExtraError: Presidio is not installed.
    """
    tool = deidentifier or Deidentifier()
    read = changed = 0
    by_kind: Counter[str] = Counter()
    for dialogue in dialogues:
        findings = tool.dialogue(dialogue)[1]
        read += 1
        changed += bool(findings)
        by_kind.update(finding.kind for finding in findings)
    return IdentifierCounts(read, changed, {kind: by_kind[kind] for kind in KINDS if by_kind[kind]})

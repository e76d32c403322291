"""`coq`: dialogues to chain-of-questioning samples, after BianQue (arXiv 2310.15896).

A doctor who asks before advising is trained on every doctor turn: each becomes the target of one sample
whose context is all that was said before it. BianQueCorpus has 46.2 % questions and 53.8 % suggestions
among its targets; the share can be set here.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

from chatdoctor_hub.corpus.writing.question_rules import is_question
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError

__all__ = ["CoqSample", "CoqSamples", "Label", "coq"]

Label = Literal["question", "suggestion"]


@dataclass(frozen=True)
class CoqSample:
    """One target with all that was said before it.

    Args:
        dialogue: ends with the doctor turn that is the target; its id is "<id of the dialogue>#<number of
            the doctor turn, from 1>".
        label: what the target is.
        group: the same for all samples of one dialogue: sha256 (hex) of it. `split` keeps them together by
            itself, since they open with the same words of the patient.
    """

    dialogue: Dialogue
    label: Label
    group: str


@dataclass(frozen=True)
class CoqSamples(Sequence[CoqSample]):
    """Samples in the order of their dialogues, with the counts that a report needs.

    Args:
        samples: those that are kept.
        found: how many doctor turns of each label there were.
        target_questions: the share of questions that was asked for, or None for all samples.
        skipped: doctor turns that are no target because the patient had not spoken yet, and dialogues
            without a target.
    """

    samples: tuple[CoqSample, ...]
    found: dict[str, int] = field(hash=False)
    target_questions: float | None = None
    skipped: dict[str, int] = field(default_factory=dict, hash=False)

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> CoqSample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[CoqSample, ...]: ...
    def __getitem__(self, index: int | slice) -> CoqSample | tuple[CoqSample, ...]:
        return self.samples[index]

    def __iter__(self) -> Iterator[CoqSample]:
        return iter(self.samples)

    @property
    def dialogues(self) -> list[Dialogue]:
        """The samples as dialogues, for `split` and for tuning on the last turn."""
        return [sample.dialogue for sample in self.samples]

    @property
    def counts(self) -> dict[str, int]:
        """How many samples of each label are kept."""
        counts = Counter(sample.label for sample in self.samples)
        return {"question": counts["question"], "suggestion": counts["suggestion"]}

    @property
    def share(self) -> float | None:
        """The share of questions among the samples, or None where there is no sample."""
        return self.counts["question"] / len(self.samples) if self.samples else None

    @property
    def reached(self) -> bool:
        """Whether the share is the one asked for, as near as whole samples come to it."""
        if self.target_questions is None or self.share is None:
            return self.target_questions is None
        return abs(self.share - self.target_questions) * len(self.samples) <= 1

    def to_record(self) -> dict[str, object]:
        """Counts for a report: found, kept, skipped, the share asked for and reached."""
        return {
            "found": dict(self.found),
            "kept": self.counts,
            "skipped": dict(self.skipped),
            "target_questions": self.target_questions,
            "share_of_questions": self.share,
            "reached": self.reached,
        }


def coq(dialogues: Iterable[Dialogue], target_questions: float | None = 0.46, seed: int = 0) -> CoqSamples:
    """Make every doctor turn a target, and leave out targets of the label that there are too many of.

    Which are left out depends on the seed and on the words of the dialogues, not on their order. Where one
    label is missing altogether the share cannot be reached: then all samples are kept, and `reached` says so.

    Args:
        dialogues: of one exchange or of many; the patient's first message is in every context.
        target_questions: the share of the targets that ask, 0 to 1; None keeps every target.
        seed: another seed, another choice.

    Raises:
        ConfigError: for a share outside 0 to 1.
    """
    if target_questions is not None and not (math.isfinite(target_questions) and 0 <= target_questions <= 1):
        raise ConfigError(
            f"Expected target_questions to be a share from 0 to 1, found {target_questions}; BianQue has 0.46."
        )
    samples: list[CoqSample] = []
    skipped: Counter[str] = Counter()
    for dialogue in dialogues:
        made = list(_samples_of(dialogue, skipped))
        skipped["dialogues_without_target"] += not made
        samples += made
    found = Counter(sample.label for sample in samples)
    kept = samples if target_questions is None else _balanced(samples, target_questions, seed)
    return CoqSamples(
        tuple(kept),
        {"question": found["question"], "suggestion": found["suggestion"]},
        target_questions,
        {key: count for key, count in sorted(skipped.items()) if count},
    )


def _samples_of(dialogue: Dialogue, skipped: Counter[str]) -> Iterator[CoqSample]:
    group = dialogue.digest
    number, heard = 0, False
    for index, turn in enumerate(dialogue.turns):
        heard = heard or turn.role == "patient"
        if turn.role != "doctor":
            continue
        number += 1
        if not heard:
            skipped["doctor_turns_before_the_patient"] += 1
            continue
        so_far = Dialogue(
            dialogue.turns[: index + 1],
            id=f"{dialogue.id}#{number}",
            source=dialogue.source,
            topic=dialogue.topic,
        )
        yield CoqSample(so_far, "question" if is_question(turn) else "suggestion", group)


def _balanced(samples: list[CoqSample], share: float, seed: int) -> list[CoqSample]:
    """As many samples as the share allows, in their order."""
    places: dict[str, list[int]] = {"question": [], "suggestion": []}
    for place, sample in enumerate(samples):
        places[sample.label].append(place)
    questions, suggestions = (len(places[label]) for label in ("question", "suggestion"))
    if (share > 0 and not questions) or (share < 1 and not suggestions):
        return samples
    if share == 0 or share == 1:
        wanted = {"question": questions * (share == 1), "suggestion": suggestions * (share == 0)}
    elif questions * (1 - share) > suggestions * share:
        wanted = {"question": max(1, round(suggestions * share / (1 - share))), "suggestion": suggestions}
    else:
        wanted = {"question": questions, "suggestion": max(1, round(questions * (1 - share) / share))}
    kept: set[int] = set()
    for label, found in places.items():
        ranked = sorted(found, key=lambda place: (_rank(samples[place], seed), place))
        kept.update(ranked[: wanted[label]])
    return [samples[place] for place in sorted(kept)]


def _rank(sample: CoqSample, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{sample.dialogue.digest}".encode()).hexdigest()

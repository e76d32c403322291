"""Dialogues from a disease table in a teacher's words: any LangChain chat model, every answer checked.

ChatDoctor (arXiv 2303.14070) had its dialogues written like this and published neither prompt nor checks.
Here both are in the package: the prompt in `data/synthesis-teacher.yaml`, the checks in `teacher_checks`.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from chatdoctor_hub.corpus.writing.grammar import draw, pick
from chatdoctor_hub.corpus.writing.teaching.journal import Journal
from chatdoctor_hub.corpus.writing.teaching.lexicon import Lexicon
from chatdoctor_hub.corpus.writing.teaching.teacher import Fault, Task, ask_all
from chatdoctor_hub.corpus.writing.teaching.teacher_calls import check_teacher, teacher_name
from chatdoctor_hub.corpus.writing.teaching.teacher_checks import (
    DOCTOR_WORDS,
    PATIENT_WORDS,
    check_dialogue,
    is_urgent,
)
from chatdoctor_hub.corpus.writing.teaching.teacher_prompts import read_prompt, task_key
from chatdoctor_hub.corpus.writing.teaching.teacher_report import TeacherConfig, TeacherReport, progress_of
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ConfigError, DataFormatError
from chatdoctor_hub.knowledge import Disease

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from rich.console import Console

__all__ = ["Synthesis", "WrittenDialogue", "WrittenTurn", "synthesize_with_teacher"]

_PROMPT = "synthesis-teacher"


class WrittenTurn(BaseModel):
    """One turn as a teacher gives it."""

    model_config = ConfigDict(extra="ignore")

    speaker: Literal["patient", "doctor"] = Field(description="who speaks")
    text: str = Field(description="what is said, without a speaker label")


class WrittenDialogue(BaseModel):
    """A dialogue between a patient and a doctor."""

    model_config = ConfigDict(extra="ignore")

    turns: list[WrittenTurn] = Field(description="patient first, doctor last, in alternation", max_length=40)


@dataclass(frozen=True)
class Synthesis:
    """Dialogues of a teacher, in the order in which they were asked for, and how they came about."""

    dialogues: tuple[Dialogue, ...]
    report: TeacherReport


def synthesize_with_teacher(
    teacher: BaseChatModel,
    table: Iterable[Disease],
    n: int = 2000,
    seed: int = 0,
    multi_turn: float = 0.4,
    *,
    journal: str | os.PathLike[str] | None = None,
    config: TeacherConfig | None = None,
    console: Console | None = None,
) -> Synthesis:
    """Have `n` dialogues written by a teacher from the rows of a table, each row as often as the others.

    An answer that breaks a rule is asked for again with the reason, and left out after
    `config.attempts` of them. With a journal a run that ended early goes on without asking anything twice.

    Args:
        teacher: any LangChain chat model; structured output is used where it has it, else JSON in text.
        table: diseases, such as a `DiseaseTable`; rows without a symptom are passed over.
        n: how many dialogues to ask for.
        seed: another seed, other rows, patients and symptoms.
        multi_turn: share of the dialogues in which the doctor asks first, 0 to 1.
        journal: a JSONL file for every reply; None keeps nothing.
        config: how to ask; None is `TeacherConfig()`.
        console: where to show progress, tokens and cost; None shows nothing.

    Returns:
        The accepted dialogues, with the disease as topic and "teacher:<model>" as source, and the report.

    Raises:
        DataFormatError: when no row of the table has a symptom, or the journal is none.
        ConfigError: when the teacher is no chat model, or n or multi_turn is out of range.
        GenerationError: when the teacher refuses every call; the journal keeps what was answered.
    """
    check_teacher(teacher)
    if n < 0 or not 0 <= multi_turn <= 1:
        raise ConfigError(
            f"Expected n of 0 or more and multi_turn from 0 to 1, found {n} and {multi_turn}; mend them."
        )
    rows = [row for row in table if any(entry.strip() for entry in (*row.lay_symptoms, *row.symptoms))]
    if not rows:
        raise DataFormatError(
            "Expected a table with at least one disease that has a symptom, found none; check the table."
        )
    settings = config or TeacherConfig()
    name = teacher_name(teacher)
    tasks = _tasks(rows, n, seed, multi_turn, name)
    with Journal(journal) as kept, progress_of(console, "dialogues", n, settings) as advance:
        answers = ask_all(teacher, tasks, settings, kept, advance)
        digest = kept.digest(answers.keys)
    topics = [row.name for row in _order(rows, n, seed)]
    dialogues = tuple(
        Dialogue(turns, id=f"teacher-{seed}-{number:05d}", source=f"teacher:{name}", topic=topics[number])
        for number, turns in enumerate(answers.values)
        if turns is not None
    )
    asked = {"n": n, "seed": seed, "multi_turn": multi_turn}
    return Synthesis(dialogues, TeacherReport.of(answers, name, _PROMPT, digest, settings, asked))


def _order(rows: Sequence[Disease], n: int, seed: int) -> Iterator[Disease]:
    """The rows in the order of the dialogues: all of them before any comes again."""
    order: list[Disease] = []
    for number in range(n):
        order = order or draw(random.Random(f"{seed}/teacher/order/{number}"), rows, len(rows))
        yield order.pop()


def _tasks(
    rows: Sequence[Disease], n: int, seed: int, multi_turn: float, model: str
) -> Iterator[Task[tuple[Turn, ...]]]:
    lexicon = Lexicon(rows)
    for number, row in enumerate(_order(rows, n, seed)):
        rng = random.Random(f"{seed}/teacher/{number}")
        asks = rng.random() < multi_turn
        prompt = _prompt(row, rng, asks, number)
        key = task_key(_PROMPT, prompt, seed, number, model)
        judge = partial(_judged, row=row, lexicon=lexicon, multi_turn=asks)
        yield Task(key, prompt, WrittenDialogue, judge)


def _prompt(row: Disease, rng: random.Random, asks: bool, number: int) -> tuple[tuple[str, str], ...]:
    data = read_prompt(_PROMPT)
    symptoms = draw(rng, row.lay_symptoms or row.symptoms, 2 + int(rng.random() * 2))
    voice = pick(rng, data["voices"])
    rounds = 1 + int(rng.random() * 2)
    asking = "the second one" if rounds > 1 else "no other"
    shape = data["multi"].format(turns=2 + 2 * rounds, asking=asking) if asks else data["single"]
    if is_urgent(row):
        shape = f"{shape}\n{data['urgent']}"
    # Said to models with structured output too: some of them turn out not to have it.
    shape = f"{shape}\n{data['format'].format()}"
    bounds = dict(
        zip(
            ("patient_low", "patient_high", "doctor_low", "doctor_high"),
            (*PATIENT_WORDS, *DOCTOR_WORDS),
            strict=True,
        )
    )
    human = data["human"].format(row=_as_json(row, symptoms), voice=voice, shape=shape, number=number)
    return ("system", data["system"].format(**bounds)), ("human", human)


def _as_json(row: Disease, symptoms: Sequence[str]) -> str:
    """What a teacher needs of a row; a mark that would end the data is taken apart."""
    facts = {
        "disease": row.name,
        "symptoms": [*row.symptoms],
        "in patients' words": [*row.lay_symptoms],
        "cause": row.cause,
        "tests": [*row.tests],
        "medications": [str(medication) for medication in row.medications],
        "warning signs": [*row.red_flags],
        "when to see a doctor": row.see_doctor,
        "self care": [*row.self_care],
        "questions a doctor asks": [*row.questions],
        "the patient begins with": [*symptoms],
    }
    text = json.dumps({key: value for key, value in facts.items() if value}, ensure_ascii=False)
    return text.replace("</", "< /").replace("<row", "< row")


def _judged(
    written: WrittenDialogue, *, row: Disease, lexicon: Lexicon, multi_turn: bool
) -> tuple[tuple[Turn, ...] | None, list[Fault]]:
    turns = [(turn.speaker, " ".join(turn.text.split())) for turn in written.turns]
    faults = check_dialogue(turns, row, lexicon, multi_turn=multi_turn)
    if faults:
        return None, faults
    return tuple(Turn(speaker, text) for speaker, text in turns), []

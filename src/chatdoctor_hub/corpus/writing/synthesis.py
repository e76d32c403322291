"""Doctor-patient dialogues written from the rows of a disease table.

Single-turn answers as in ChatDoctor's generated set (arXiv 2303.14070), and dialogues in which the doctor
asks before advising, after BianQue's chain of questioning (arXiv 2310.15896). No model writes here: the
sentences come from the grammars in `data/`, the facts from the row and from nowhere else.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from chatdoctor_hub.corpus.writing.advice import Advice
from chatdoctor_hub.corpus.writing.grammar import Grammar, draw, pick
from chatdoctor_hub.corpus.writing.interview import answer, is_duration_question
from chatdoctor_hub.corpus.writing.wording import RowWords, listed, says_when, your
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.knowledge import Disease

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["synthesize"]

_RETRIES = 8
_Asked = tuple[str, str, tuple[str, ...]]
"""A question, the patient's answer, and the symptoms that the answer confirms."""


@lru_cache(maxsize=2)
def _grammar(name: str) -> Grammar:
    return Grammar.load("chatdoctor_hub.corpus.writing", name)


def synthesize(
    table: Iterable[Disease],
    n: int = 2000,
    seed: int = 0,
    multi_turn: float = 0.4,
    *,
    teacher: BaseChatModel | None = None,
    journal: str | os.PathLike[str] | None = None,
    max_concurrency: int = 8,
    requests_per_second: float | None = None,
) -> list[Dialogue]:
    """Write `n` dialogues from the rows of a table, each row as often as the others.

    Without a teacher they come from grammars, offline: the same table, seed and share give the same
    dialogues in every process, and a smaller `n` gives the first of them. With one, the teacher writes them
    and every answer is checked against its row; answers that fail are left out, so that there may be fewer
    than `n`. `synthesize_with_teacher` has more settings, and reports counts, tokens and cost.

    Args:
        table: diseases, such as a `DiseaseTable`; rows without a symptom are passed over.
        n: how many dialogues.
        seed: another seed, other dialogues.
        multi_turn: share of the dialogues in which the doctor asks first, 0 to 1.
        teacher: any LangChain chat model, or None.
        journal: for a teacher, a JSONL file of its replies, from which a run that was stopped goes on.
        max_concurrency: for a teacher, calls at a time.
        requests_per_second: for a teacher, calls a second at most; None: no limit.

    Returns:
        Dialogues with the disease as topic and as source "synthetic:<source of the table>", or
        "teacher:<model>".

    Raises:
        DataFormatError: when no row of the table has a symptom.
        ConfigError: for a teacher, when a setting is wrong.
        GenerationError: when the teacher refuses every call; the journal keeps what was answered.
    """
    if teacher is not None:
        from chatdoctor_hub.corpus.writing.teaching.teacher_report import TeacherConfig
        from chatdoctor_hub.corpus.writing.teaching.teacher_synthesis import synthesize_with_teacher

        config = TeacherConfig(max_concurrency=max_concurrency, requests_per_second=requests_per_second)
        taught = synthesize_with_teacher(teacher, table, n, seed, multi_turn, journal=journal, config=config)
        return list(taught.dialogues)
    rows = [row for row in table if any(entry.strip() for entry in (*row.lay_symptoms, *row.symptoms))]
    if not rows:
        raise DataFormatError(
            "Expected a table with at least one disease that has a symptom, found none; check the table."
        )
    source = f"synthetic:{getattr(table, 'source', '') or 'table'}"
    words = [RowWords.of(row) for row in rows]
    seen: set[str] = set()
    dialogues: list[Dialogue] = []
    order: list[int] = []
    for number in range(n):
        order = order or draw(random.Random(f"{seed}/order/{number}"), range(len(rows)), len(rows))
        index = order.pop()
        turns = _fresh(words[index], random.Random(f"{seed}/{number}"), multi_turn, seen)
        id = f"synthetic-{seed}-{number:05d}"
        dialogues.append(Dialogue(turns, id=id, source=source, topic=rows[index].name))
    return dialogues


def _fresh(words: RowWords, rng: random.Random, multi_turn: float, seen: set[str]) -> tuple[Turn, ...]:
    """A dialogue whose opening and answers have not come up, where a few tries find one."""
    asks = rng.random() < multi_turn
    for _ in range(_RETRIES):
        turns = _Consultation(words, rng).turns(asks)
        said = {turn.content for turn in (turns[0], max(turns, key=lambda turn: len(turn.content)))}
        if not said & seen:
            break
    seen |= said
    return turns


class _Consultation:
    """One consultation about one row: what is told, asked, confirmed and advised."""

    def __init__(self, words: RowWords, rng: random.Random) -> None:
        self._words, self._rng = words, rng
        self._told = draw(rng, words.symptoms, 2 + int(rng.random() * 3))
        self._untold = [item for item in words.symptoms if item not in self._told]
        self._time, self._past = pick(rng, words.durations())
        self._named = False

    def turns(self, asks: bool) -> tuple[Turn, ...]:
        """All turns, the patient's and the doctor's in alternation, the doctor's last."""
        asked = self._questions() if asks else []
        when = not any(is_duration_question(question) for question, _, _ in asked)
        opening = Turn("patient", self._opening(when))
        advice = Advice(self._words, self._rng, _grammar("doctor"), self._told, self._untold)
        turns = [opening, *self._interview(asked, advice)]
        follows = bool(asked) and not self._words.urgent and self._rng.random() < 0.4
        later = self._later_subject() if follows else ""
        turns.append(Turn("doctor", advice.answer(asked=bool(asked), named=self._named, kept_back=later)))
        if later:
            turns += [Turn("patient", self._patient(f"follow_up_{later}")), Turn("doctor", advice.on(later))]
        if follows and self._rng.random() < 0.3:
            turns += [Turn("patient", self._patient("thanks")), Turn("doctor", self._doctor("closing"))]
        return tuple(turns)

    def _patient(self, rule: str, **slots: str) -> str:
        return _grammar("patient").expand(rule, self._rng, **slots)

    def _doctor(self, rule: str, **slots: str) -> str:
        return _grammar("doctor").expand(rule, self._rng, **slots)

    def _opening(self, may_say_when: bool) -> str:
        first, *rest = self._told
        when = may_say_when and not any(says_when(item) for item in self._told)
        if not rest:
            rule = "opening_single_timed" if when else "opening_single"
        elif self._words.child:
            rule = "opening_child"
        elif self._words.urgent:
            rule = "opening_urgent" if when else "opening_urgent_now"
        else:
            self._named = self._rng.random() < 0.08
            timed = when and self._rng.random() < 0.6
            rule = "opening_named" if self._named else "opening_timed" if timed else "opening"
        youngest, oldest = self._words.ages
        return self._patient(
            rule,
            all=listed(self._told),
            first=first,
            rest=listed(rest),
            time=self._time,
            past=self._past,
            age=str(youngest + int(self._rng.random() * (oldest - youngest + 1))),
            disease=self._words.disease,
        )

    def _questions(self) -> list[_Asked]:
        """One to three questions: of the row, from its further symptoms, from its red flags."""
        found: list[_Asked] = []
        for question in draw(self._rng, self._words.questions, 8):
            reply = answer(question, self._rng, told=self._told, untold=self._untold, time=self._time)
            if reply is not None:
                found.append((question, *reply))
        made = self._made_questions()
        wanted = 1 + int(self._rng.random() * 2.5)
        asked = found[:wanted] if self._rng.random() < 0.55 else [*made[:1], *found][:wanted]
        return asked or made[:wanted]

    def _made_questions(self) -> list[_Asked]:
        made: list[_Asked] = [
            (self._doctor("also_ask", sign=your(item)), self._patient("confirm"), (item,))
            for item in draw(self._rng, self._untold, 1)
        ]
        made += [
            (self._doctor("flag_ask", sign=flag), self._patient("deny"), ())
            for flag in draw(self._rng, self._words.askable_flags(self._told), 1)
        ]
        return draw(self._rng, made, 2)

    def _interview(self, asked: Sequence[_Asked], advice: Advice) -> list[Turn]:
        """The doctor's questions in one turn or more, and the patient's answers."""
        if not asked:
            return []
        together = 2 if len(asked) > 1 and not self._words.urgent and self._rng.random() < 0.6 else 1
        groups = [asked[:together], *([one] for one in asked[together:])]
        turns: list[Turn] = []
        for number, group in enumerate(groups[:1] if self._words.urgent else groups):
            questions = " ".join(question for question, _, _ in group)
            turns.append(Turn("doctor", advice.asking(questions, first=not number, several=len(group) > 1)))
            replies = " ".join(reply for _, reply, _ in group)
            rule = "reply_short" if number else "reply"
            turns.append(Turn("patient", self._patient(rule, answers=replies)))
            for item in (item for _, _, confirmed in group for item in confirmed if item in self._untold):
                self._told.append(item)
                self._untold.remove(item)
        return turns

    def _later_subject(self) -> str:
        """What the doctor leaves for the patient to ask: self care, warning signs or tests, or nothing."""
        words = self._words
        entries = {"care": words.care, "red": words.own_flags(self._told), "tests": words.tests}
        return pick(self._rng, ["", *(kind for kind in entries if entries[kind])])

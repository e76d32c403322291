"""`polish`: a doctor's suggestions made fuller by a teacher, after BianQue (arXiv 2310.15896).

Questions are not sent and stay word for word, inside a mixed turn too. A rewriting that drops or invents a
drug, a number, a negation, a warning sign or an urgency is rejected, and the doctor's own words stay.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from chatdoctor_hub.corpus.writing.question_rules import asking_sentences, is_question
from chatdoctor_hub.corpus.writing.sentences import sentences
from chatdoctor_hub.corpus.writing.teaching.journal import Journal
from chatdoctor_hub.corpus.writing.teaching.lexicon import Lexicon
from chatdoctor_hub.corpus.writing.teaching.meaning import changes_of_meaning
from chatdoctor_hub.corpus.writing.teaching.teacher import Answers, Fault, Task, ask_all
from chatdoctor_hub.corpus.writing.teaching.teacher_calls import check_teacher, teacher_name
from chatdoctor_hub.corpus.writing.teaching.teacher_checks import check_wording
from chatdoctor_hub.corpus.writing.teaching.teacher_prompts import read_prompt, task_key
from chatdoctor_hub.corpus.writing.teaching.teacher_report import TeacherConfig, TeacherReport, progress_of
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.folders import replacing_file
from chatdoctor_hub.knowledge import Disease

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from rich.console import Console

__all__ = ["Polished", "PolishedTurn", "RewrittenPassages", "polish"]

_PROMPT = "polishing-teacher"
_CONTEXT_TURNS = 6
_FEWEST_LETTERS = 8
_Spans = tuple[tuple[int, int], ...]


class RewrittenPassages(BaseModel):
    """The passages of a turn, rewritten, in their order."""

    model_config = ConfigDict(extra="ignore")

    passages: list[str] = Field(description="as many as were given, in the same order", max_length=100)


@dataclass(frozen=True)
class PolishedTurn:
    """What became of one turn that was sent.

    Args:
        dialogue: place of the dialogue in the input, from 0.
        id: its id.
        turn: place of the turn in the dialogue, from 0.
        before: the doctor's words.
        after: the whole turn as rewritten last, also when it was rejected; "" where no answer could be read.
        accepted: whether it took the place of the doctor's words.
        reason: why not: the kinds of fault, or "unchanged"; "" when it was accepted.
    """

    dialogue: int
    id: str
    turn: int
    before: str
    after: str
    accepted: bool
    reason: str


@dataclass(frozen=True)
class Polished:
    """Polished dialogues.

    Args:
        dialogues: all of the input, in its order.
        turns: what became of each turn that was sent.
        skipped: doctor turns that were not sent, by reason: "question", "short".
        report: counts, tokens, cost, provenance.
    """

    dialogues: tuple[Dialogue, ...]
    turns: tuple[PolishedTurn, ...]
    skipped: dict[str, int] = field(hash=False)
    report: TeacherReport = field(hash=False)

    def write_turns(self, path: str | os.PathLike[str]) -> None:
        """Write before and after of every turn that was sent, one JSON record a line, whole or not at all."""
        with replacing_file(path, what="record of polished turns") as file:
            lines = (json.dumps(asdict(turn), ensure_ascii=True) for turn in self.turns)
            file.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


@dataclass(frozen=True)
class _Place:
    """A turn to be sent, and the passages of it that may change."""

    dialogue: int
    turn: int
    before: str
    spans: _Spans

    @property
    def passages(self) -> list[str]:
        return [self.before[start:end] for start, end in self.spans]

    def with_passages(self, passages: Sequence[str]) -> str:
        """The turn with its passages replaced, all else as it was."""
        parts, done = [], 0
        for (start, end), passage in zip(self.spans, passages, strict=True):
            parts += [self.before[done:start], passage]
            done = end
        return "".join([*parts, self.before[done:]])


def polish(
    dialogues: Iterable[Dialogue],
    teacher: BaseChatModel,
    *,
    journal: str | os.PathLike[str] | None = None,
    config: TeacherConfig | None = None,
    table: Iterable[Disease] = (),
    console: Console | None = None,
) -> Polished:
    """Have a teacher rewrite the doctors' suggestions, and keep what kept its meaning.

    The teacher gets the last turns before each suggestion as context: patients' words leave this machine when
    the teacher is elsewhere, so de-identify first. A dialogue with a rewritten turn has "+teacher:<model>"
    after its source.

    Args:
        dialogues: English or Chinese.
        teacher: any LangChain chat model.
        journal: a JSONL file for every reply, from which a run that was stopped goes on.
        config: how to ask; None is `TeacherConfig()`.
        table: a disease table whose drugs, tests and diseases are looked for as well.
        console: where to show progress, tokens and cost; None shows nothing.

    Raises:
        ConfigError: when the teacher is no chat model.
        DataFormatError: when the journal is none.
        GenerationError: when the teacher refuses every call; the journal keeps what was answered.
    """
    check_teacher(teacher)
    given = tuple(dialogues)
    settings = config or TeacherConfig()
    name = teacher_name(teacher)
    skipped: Counter[str] = Counter()
    places = list(_places(given, skipped))
    tasks = _tasks(given, places, Lexicon(table), name)
    with Journal(journal) as kept, progress_of(console, "turns", len(places), settings) as advance:
        answers = ask_all(teacher, tasks, settings, kept, advance)
        digest = kept.digest(answers.keys)
    turns = tuple(_outcomes(given, places, answers))
    report = TeacherReport.of(answers, name, _PROMPT, digest, settings, {"dialogues": len(given)})
    return Polished(_replaced(given, turns, name), turns, dict(sorted(skipped.items())), report)


def _places(dialogues: Sequence[Dialogue], skipped: Counter[str]) -> Iterator[_Place]:
    for number, dialogue in enumerate(dialogues):
        for index, turn in enumerate(dialogue.turns):
            if turn.role != "doctor":
                continue
            spans = () if is_question(turn) else _spans(turn.content)
            letters = sum(sign.isalpha() for start, end in spans for sign in turn.content[start:end])
            if letters < _FEWEST_LETTERS:
                skipped["question" if is_question(turn) else "short"] += 1
            else:
                yield _Place(number, index, turn.content, spans)


def _spans(text: str) -> _Spans:
    """The longest stretches of a turn without a question in them."""
    asked = {item.start for item in asking_sentences(text)}
    spans: list[tuple[int, int]] = []
    is_open = False
    for item in sentences(text):
        # A question to nobody ("What is gout?") is the doctor's question all the same.
        if item.start in asked or item.text.endswith(("?", "？")):
            is_open = False
        elif is_open:
            spans[-1] = (spans[-1][0], item.end)
        else:
            spans.append((item.start, item.end))
            is_open = True
    return tuple(spans)


def _tasks(
    dialogues: Sequence[Dialogue], places: Sequence[_Place], lexicon: Lexicon, model: str
) -> Iterator[Task[str]]:
    asked: Counter[str] = Counter()
    for place in places:
        prompt = _prompt(dialogues[place.dialogue], place)
        same = task_key(_PROMPT, prompt, model)
        # The same words may come twice; each is a task of its own.
        key = task_key(_PROMPT, prompt, model, asked[same])
        asked[same] += 1
        yield Task(key, prompt, RewrittenPassages, partial(_judged, place=place, lexicon=lexicon))


def _prompt(dialogue: Dialogue, place: _Place) -> tuple[tuple[str, str], ...]:
    data = read_prompt(_PROMPT)
    before = dialogue.turns[max(0, place.turn - _CONTEXT_TURNS) : place.turn]
    facts = {
        "so far": [{"speaker": turn.role, "text": turn.content} for turn in before],
        "passages": place.passages,
    }
    text = json.dumps(facts, ensure_ascii=False).replace("</", "< /")
    human = data["human"].replace("{data}", text)
    return ("system", f"{data['system']}\n{data['format']}"), ("human", human)


def _judged(
    rewritten: RewrittenPassages, *, place: _Place, lexicon: Lexicon
) -> tuple[str | None, list[Fault]]:
    passages = [passage.strip() for passage in rewritten.passages]
    if len(passages) != len(place.spans) or not all(passages):
        return None, [Fault("passages", f"There must be {len(place.spans)} passages, none of them empty.")]
    faults = []
    for before, after in zip(place.passages, passages, strict=True):
        faults += [*check_wording(after), *changes_of_meaning(before, after, lexicon)]
    return place.with_passages(passages), faults


def _outcomes(
    dialogues: Sequence[Dialogue], places: Sequence[_Place], answers: Answers[str]
) -> Iterator[PolishedTurn]:
    for place, after, faults in zip(places, answers.values, answers.last, strict=True):
        kinds = ", ".join(sorted({fault.kind for fault in faults}))
        reason = kinds or ("unchanged" if after == place.before else "")
        accepted = after is not None and not reason
        id = dialogues[place.dialogue].id
        yield PolishedTurn(place.dialogue, id, place.turn, place.before, after or "", accepted, reason)


def _replaced(
    dialogues: Sequence[Dialogue], turns: Sequence[PolishedTurn], model: str
) -> tuple[Dialogue, ...]:
    changed: dict[int, dict[int, str]] = {}
    for turn in turns:
        if turn.accepted:
            changed.setdefault(turn.dialogue, {})[turn.turn] = turn.after
    polished = list(dialogues)
    for number, new in changed.items():
        dialogue = dialogues[number]
        spoken = tuple(
            Turn("doctor", new[index]) if index in new else turn for index, turn in enumerate(dialogue.turns)
        )
        polished[number] = replace(dialogue, turns=spoken, source=f"{dialogue.source}+teacher:{model}")
    return tuple(polished)

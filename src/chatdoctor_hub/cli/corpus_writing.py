"""`chatdoctor corpus synthesize | polish | coq`: dialogues from tables, fuller answers, training samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from chatdoctor_hub.cli.corpus import corpus_app
from chatdoctor_hub.cli.telling import Debug, told
from chatdoctor_hub.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from chatdoctor_hub.corpus.writing import TeacherConfig, TeacherReport
    from chatdoctor_hub.dialogue import Dialogue
    from chatdoctor_hub.knowledge import DiseaseTable

__all__ = ["corpus_app"]

_Table = Annotated[Path | None, typer.Option("--table", help="Disease table (CSV) (default: starter table).")]
_In = Annotated[
    Path,
    typer.Argument(metavar="IN", help="Dialogues: a file, or a corpus folder, whose training split is read."),
]
_Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
_Journal = Annotated[
    Path | None,
    typer.Option(help="Replies of the teacher; a stopped run goes on from it (default: beside the result)."),
]
_AtATime = Annotated[int, typer.Option("--max-concurrency", help="Calls at a time.")]
_Rate = Annotated[float | None, typer.Option("--requests-per-second", help="Calls a second at most.")]
_Attempts = Annotated[int, typer.Option(help="Answers asked for in all while the checks reject them.")]
_Timeout = Annotated[float, typer.Option(help="Seconds for one call.")]
_InputPrice = Annotated[float | None, typer.Option(help="Of a million tokens read, to show the cost.")]
_OutputPrice = Annotated[float | None, typer.Option(help="Of a million tokens written.")]


@corpus_app.command("synthesize")
def synthesize_command(
    out: Annotated[Path, typer.Option(help="The JSONL file to write.")],
    table: _Table = None,
    n: Annotated[int, typer.Option("--n", min=0, help="How many dialogues.")] = 2000,
    seed: _Seed = 0,
    multi_turn: Annotated[
        float, typer.Option(min=0, max=1, help="Share in which the doctor asks first.")
    ] = 0.4,
    teacher: Annotated[
        str | None, typer.Option(help="LangChain chat model, 'provider:model' (default: grammars, offline).")
    ] = None,
    journal: _Journal = None,
    max_concurrency: _AtATime = 8,
    requests_per_second: _Rate = None,
    attempts: _Attempts = 3,
    timeout: _Timeout = 120.0,
    input_price: _InputPrice = None,
    output_price: _OutputPrice = None,
    debug: Debug = False,
) -> None:
    """Disease table -> dialogues, by grammars or by a teacher whose every answer is checked."""
    with told(debug):
        from chatdoctor_hub.corpus.writing import (
            synthesize,
            synthesize_with_teacher,
            write_messages,
        )

        rows = _table(table)
        if teacher is None:
            count = write_messages(out, synthesize(rows, n, seed, multi_turn))
            Console().print(f"{count} dialogues in {out}", soft_wrap=True, markup=False)
            return
        config = _config(max_concurrency, requests_per_second, attempts, timeout, input_price, output_price)
        made = synthesize_with_teacher(
            _teacher(teacher),
            rows,
            n,
            seed,
            multi_turn,
            journal=journal or _beside(out, "journal.jsonl"),
            config=config,
            console=Console(stderr=True),
        )
        write_messages(out, made.dialogues)
        _tell(out, made.report)


@corpus_app.command("polish")
def polish_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Dialogues: a file, or a corpus folder, whose training split is read."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The JSONL file to write.")],
    teacher: Annotated[str, typer.Option(help="LangChain chat model, 'provider:model'.")],
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Disease table (CSV) whose names are looked for (default: none)."),
    ] = None,
    journal: _Journal = None,
    max_concurrency: _AtATime = 8,
    requests_per_second: _Rate = None,
    attempts: _Attempts = 3,
    timeout: _Timeout = 120.0,
    input_price: _InputPrice = None,
    output_price: _OutputPrice = None,
    debug: Debug = False,
) -> None:
    """Doctors' suggestions made fuller by a teacher; what changes the meaning is rejected.

    Patients' words are sent to the teacher as context: de-identify them first.
    """
    with told(debug):
        from chatdoctor_hub.corpus.writing import polish, write_messages

        config = _config(max_concurrency, requests_per_second, attempts, timeout, input_price, output_price)
        made = polish(
            _dialogues(source, out),
            _teacher(teacher),
            journal=journal or _beside(out, "journal.jsonl"),
            config=config,
            table=_table(table) if table else (),
            console=Console(stderr=True),
        )
        made.write_turns(_beside(out, "turns.jsonl"))
        write_messages(out, made.dialogues)
        _tell(out, made.report, skipped=made.skipped)


@corpus_app.command("coq")
def coq_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Dialogues: a file, or a corpus folder, whose training split is read."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The JSONL file to write.")],
    target_questions: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the targets that ask; BianQue has 0.46.")
    ] = 0.46,
    every: Annotated[bool, typer.Option("--all", help="Keep every target, whatever the share.")] = False,
    seed: _Seed = 0,
    debug: Debug = False,
) -> None:
    """Dialogues -> chain-of-questioning samples: every doctor turn a target, labelled."""
    with told(debug):
        from chatdoctor_hub.corpus.writing import coq, write_messages

        samples = coq(_dialogues(source, out), None if every else target_questions, seed)
        labels = ({"label": sample.label, "group": sample.group} for sample in samples)
        write_messages(out, (sample.dialogue for sample in samples), labels)
        counts = samples.counts
        share = "" if samples.share is None else f" ({100 * samples.share:.1f} % questions)"
        found = f"{samples.found['question']} and {samples.found['suggestion']} found"
        console = Console()
        console.print(
            f"{counts['question']} questions and {counts['suggestion']} suggestions{share} in {out}; {found}",
            soft_wrap=True,
            markup=False,
        )
        if not samples.reached:
            console.print(
                "That share cannot be reached: one label is missing, so every target is kept.", soft_wrap=True
            )


def _dialogues(source: Path, out: Path) -> Sequence[Dialogue]:
    """What is to be worked on; never overwritten with what comes of it."""
    from chatdoctor_hub.corpus.folder import Corpus
    from chatdoctor_hub.corpus.reading import read_dialogues
    from chatdoctor_hub.corpus.record import RECORD

    if source.resolve() == out.resolve():
        raise ConfigError(f"Expected another file to write than {source}, found the same; name another OUT.")
    return Corpus.open(source).train if (source / RECORD).is_file() else read_dialogues(source)


def _table(path: Path | None) -> DiseaseTable:
    from chatdoctor_hub.knowledge import DiseaseTable

    return DiseaseTable.starter() if path is None else DiseaseTable.from_csv(path)


def _config(
    max_concurrency: int,
    requests_per_second: float | None,
    attempts: int,
    timeout: float,
    input_price: float | None,
    output_price: float | None,
) -> TeacherConfig:
    from chatdoctor_hub.corpus.writing import TeacherConfig

    return TeacherConfig(
        max_concurrency=max_concurrency,
        requests_per_second=requests_per_second,
        attempts=attempts,
        timeout=timeout,
        input_price=input_price,
        output_price=output_price,
    )


def _teacher(name: str) -> BaseChatModel:
    """The chat model of that name, by LangChain's `init_chat_model`."""
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        raise MissingExtraError("langchain", "agents") from None
    try:
        model: BaseChatModel = init_chat_model(name)
    except Exception as error:
        # Providers raise errors of their own kinds; an ImportError names the package to install.
        found = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"Expected the name of a chat model as LangChain's init_chat_model takes it ('provider:model'), "
            f"with its package and key in place, found {name!r}: {found}"
        ) from error
    return model


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.name.removesuffix('.jsonl')}.{ending}")


def _tell(out: Path, report: TeacherReport, **more: Any) -> None:
    from chatdoctor_hub.corpus.writing import write_report

    written = write_report(_beside(out, "report.json"), report.to_record() | more)
    console = Console()
    console.print(f"{out}: {report}", soft_wrap=True, markup=False, highlight=False)
    for kind, count in report.rejections.items():
        console.print(f"  rejected for {kind}: {count} replies", soft_wrap=True, markup=False)
    console.print(f"Report: {written}", soft_wrap=True, markup=False)
    if report.failed:
        console.print("The same command asks again for what had no answer.", soft_wrap=True)

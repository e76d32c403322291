"""The steps that make data and weights: knowledge, corpus, base model, tuning, release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus import (
    Corpus,
    SourceConfig,
    general_dialogues,
    lookups,
    read_dialogues,
    safety_dialogues,
    split,
    synthesize,
)
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.knowledge import DiseaseTable
from chatdoctor_hub.models import digest_of, load_tokenizer, locate
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.quickstart.display import Display
from chatdoctor_hub.quickstart.settings import QuickstartSettings
from chatdoctor_hub.release import prepare_release, read_corpus_file
from chatdoctor_hub.training import RecipeConfig, fine_tune, step_count, train_tiny_base

__all__ = [
    "LARGEST_BASE",
    "LICENCE",
    "PROMPT",
    "STARTER",
    "check_base",
    "make_base",
    "make_corpus",
    "make_knowledge",
    "make_release",
    "read_table",
    "tune",
]

PROMPT = "chatdoctor@1"
LICENCE = "apache-2.0"
"""Of the starter table, as of all of this package, and of what is made from it alone."""
STARTER = "the starter table of chatdoctor-hub"
LARGEST_BASE = 1_000_000_000
"""Bytes of weights that a local base may have to travel with the release; a larger one stays where it is."""
Found = dict[str, Any]


def read_table(settings: QuickstartSettings) -> DiseaseTable:
    """The disease table that was asked for."""
    return DiseaseTable.from_csv(settings.knowledge) if settings.knowledge else DiseaseTable.starter()


def make_knowledge(settings: QuickstartSettings, out: Path, display: Display) -> Found:
    """Write the table's usable rows, and the rows that could not be used, as they were understood."""
    table = read_table(settings)
    with replacing_folder(out) as partial:
        rows = [
            {
                "name": disease.name,
                "symptoms": disease.symptoms,
                "tests": disease.tests,
                "medications": [str(medication) for medication in disease.medications],
                "cause": disease.cause,
                "line": disease.line,
            }
            for disease in table
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (partial / "diseases.jsonl").write_text(lines, encoding="utf-8")
        problems = [{"line": problem.line, "reason": problem.reason} for problem in table.problems]
        (partial / "problems.json").write_text(json.dumps(problems, indent=2) + "\n", encoding="utf-8")
    lost = sum(problem.lost for problem in table.problems)
    display.say(f"{len(table)} rows of {len(table) + lost} used, from {table.source}.")
    _say_problems(display, [f"line {problem.line}: {problem.reason}" for problem in table.problems])
    return {
        "rows": len(table),
        "problems": len(table.problems),
        "digest": table.digest,
        "source": table.source,
    }


def make_corpus(settings: QuickstartSettings, out: Path, display: Display) -> Found:
    """Write or read dialogues, split them, and write the corpus folder."""
    repairs: dict[str, int] = {}
    problems: tuple[Any, ...] = ()
    if settings.dialogues:
        file = read_dialogues(settings.dialogues)
        dialogues, repairs, problems, source = list(file), dict(file.repairs), file.problems, file.source
        licence, about = "unknown", {"description": f"Dialogues read from {source}."}
    else:
        table = read_table(settings)
        dialogues = synthesize(table, n=settings.synthetic, seed=settings.seed)
        source = f"written from {table.source if settings.knowledge else STARTER}"
        licence, about = "unknown" if settings.knowledge else LICENCE, _of_nobody(source, settings.seed)
    splits = split(dialogues, seed=settings.seed)
    corpus = Corpus.write(
        out,
        splits,
        seed=settings.seed,
        sources=[{"name": source, "licence": "" if licence == "unknown" else licence}],
        repairs=repairs,
        problems=problems,
        licence=licence,
        extra=about,
    )
    parts = f"{len(corpus.train)} to train, {len(corpus.validation)} to validate, {len(corpus.test)} to test"
    display.say(
        f"{len(dialogues)} dialogues {source if not settings.dialogues else 'from ' + source}: {parts}."
    )
    if splits.duplicates:
        display.say(f"{splits.duplicates} exact duplicates left out.")
    for kind, count in sorted(repairs.items()):
        display.say(f"{count} repaired: {kind}.")
    _say_problems(display, [str(problem) for problem in problems])
    return {"digest": corpus.digest, "source": source}


def _of_nobody(source: str, seed: int) -> dict[str, str]:
    """What the cards say of dialogues that were made up."""
    return {
        "description": f"Synthetic dialogues {source} by a grammar, seed {seed}; no patient's words are in them.",
        "consent": "not needed, since nobody's words are in the dialogues.",
        "deidentification": "not needed, since the people in the dialogues are made up.",
    }


def _say_problems(display: Display, lines: list[str]) -> None:
    for line in lines[:5]:
        display.say(f"left out: {line}")
    if len(lines) > 5:
        display.say(f"… and {len(lines) - 5} more, listed in the folder.")


def make_base(settings: QuickstartSettings, corpus: Path, out: Path, display: Display) -> Found:
    """Train the tiny base, or find the one that was asked for."""
    if settings.base:
        folder = locate(settings.base)
        digest = digest_of(folder)
        with replacing_folder(out) as partial:
            (partial / "base.txt").write_text(f"{settings.base}\n{digest}\n", encoding="utf-8")
        display.say(f"{settings.base}, found in {folder}.")
        return {"digest": digest, "travels": Path(settings.base).is_dir() and _size(folder) < LARGEST_BASE}
    opened = Corpus.open(corpus)
    behaviour = [
        *general_dialogues(settings.small_talk, seed=settings.seed),
        *_balanced(safety_dialogues(settings.safety, seed=settings.seed)),
    ]
    medical = [*opened.train, *lookups(read_table(settings))]
    config = settings.tiny_base
    samples = len(medical) + len(behaviour)
    total = step_count(samples, config.training.batch_size, config.training.epochs)
    with replacing_folder(out) as partial, display.progress("training", total) as advance:
        fitted = train_tiny_base(
            medical,
            behaviour,
            PromptPair.load(PROMPT),
            partial,
            config,
            validation=opened.validation,
            on_step=lambda step: advance(int(step["step"]), f"loss {step['loss']:.2f}"),
        )
    display.say(
        f"{fitted.parameters:,} parameters, {len(load_tokenizer(out)):,} tokens; {fitted.tokens:,} tokens seen in "
        f"{fitted.steps} steps, {fitted.seconds:.0f} s in {fitted.precision} on {fitted.workers} thread(s)."
    )
    return {"digest": digest_of(out), "travels": True}


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _balanced(dialogues: list[Dialogue]) -> list[Dialogue]:
    """A quarter as many with a refusal as without: a small model that sees more of them refuses everything."""
    harmless = [dialogue for dialogue in dialogues if dialogue.source == "behaviour:harmless"]
    refused = [dialogue for dialogue in dialogues if dialogue.source != "behaviour:harmless"]
    return harmless + refused[: len(harmless) // 4]


def tune(settings: QuickstartSettings, base: Path, corpus: Path, out: Path, display: Display) -> Found:
    """LoRA on the doctor's words, under the training form."""
    config = RecipeConfig(
        base=settings.base or str(base),
        data=(SourceConfig(path=str(corpus)),),
        output=str(out),
        prompt=PROMPT,
        seed=settings.seed,
        training=settings.training,
    )
    samples = len(Corpus.open(corpus).train)
    total = step_count(samples, config.training.batch_size, config.training.epochs)
    with display.progress("tuning", total) as advance:
        run = fine_tune(config, on_step=lambda step: advance(int(step["step"]), f"loss {step['loss']:.2f}"))
    made = run.manifest
    validated = [record["validation_loss"] for record in run.metrics if "validation_loss" in record]
    display.say(
        f"{made.trained_parameters:,} of {made.base.parameters:,} parameters trained, {made.steps} steps, "
        f"{made.seconds:.0f} s; validation loss {validated[-1]:.3f} nats a token."
        if validated
        else f"{made.trained_parameters:,} parameters trained in {made.steps} steps, {made.seconds:.0f} s."
    )
    if made.data.shortened or made.data.skipped:
        display.say(f"{made.data.shortened} dialogues shortened, {sum(made.data.skipped.values())} skipped.")
    return {"digest": digest_of(out / "adapter")}


def make_release(
    settings: QuickstartSettings,
    base: Found,
    corpus: Path,
    run: Path,
    metrics: Found,
    out: Path,
    display: Display,
) -> Found:
    """Write the release folder: a base that nobody else has is merged with its adapter, so that all can load it."""
    release = prepare_release(
        run,
        out,
        metrics=metrics,
        name="chatdoctor-quickstart",
        license=LICENCE,
        base_license="" if settings.base else LICENCE,
        corpus=read_corpus_file(corpus),
        merge=bool(base["travels"]),
        accept_licences=True,  # a demonstration on this machine; the card says which are unknown
    )
    for file in sorted(path for path in release.path.rglob("*") if path.is_file()):
        display.say(f"{file.stat().st_size:>10,} bytes  {file.relative_to(release.path)}")
    return {"name": release.manifest.name}


def check_base(settings: QuickstartSettings) -> None:
    """Find out before anything is made whether the base can be used."""
    if settings.base is None:
        return
    if not settings.base.strip():
        raise ConfigError(
            "Expected a folder or Hub id after --base, found nothing; leave it out for a tiny base."
        )
    load_tokenizer(locate(settings.base))

"""The main job end to end: steps in order, each done once, resumed where inputs changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from chatdoctor_hub.errors import DataFormatError, DiskSpaceError
from chatdoctor_hub.models import digest_of, locate, without_bars
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.quickstart import chatting, measuring, steps
from chatdoctor_hub.quickstart.display import Display
from chatdoctor_hub.quickstart.ledger import Ledger, digest_of_file, key_of
from chatdoctor_hub.quickstart.settings import FREE_BYTES, QuickstartSettings

__all__ = ["quickstart"]

Found = dict[str, Any]


class _Job:
    def __init__(self, settings: QuickstartSettings, display: Display) -> None:
        self.settings = settings
        self.display = display
        self.ledger = Ledger(settings.out)
        self._previous = ""

    def folder(self, name: str) -> Path:
        return self.settings.out / name

    def step(
        self, name: str, title: str, explanation: str, inputs: Any, work: Callable[[Path], Found]
    ) -> Found:
        """Do a step, or take what it found when it was last done with the same inputs."""
        self.display.step(title, explanation)
        key = key_of(name, inputs, self._previous)
        out = self.folder(name)
        found = self.ledger.finished(name, key)
        if found is not None and out.is_dir():
            self.display.say(f"done before with the same inputs ({self.ledger.seconds(name):.0f} s): {out}")
        else:
            started = time.monotonic()
            found = work(out)
            self.ledger.enter(name, key, time.monotonic() - started, found)
            self.display.say(f"{time.monotonic() - started:.0f} s; see {out}")
        # What came out counts as well: other threads or another precision give other weights.
        self._previous = key_of(key, found)
        return found


def quickstart(settings: QuickstartSettings, console: Console | None = None) -> Path:
    """From a disease table to a safe chat model, on this machine, with nothing but what is installed.

    Knowledge, corpus, base model, tuning, test, release, chat: each step writes a folder under
    `settings.out`, whole or not at all. A step is done again when its inputs, or those of a step before
    it, have changed.

    Args:
        settings: what to do.
        console: where to print; standard output by default.

    Returns:
        The release folder.

    Raises:
        ChatDoctorError: for input that cannot be used, too little disk, a missing extra; see the leaves.
    """
    display = Display(console or Console(), steps=7)
    _check_room(settings.out)
    with without_bars():
        steps.check_base(settings)
        return _steps(settings, display)


def _steps(settings: QuickstartSettings, display: Display) -> Path:
    started = time.monotonic()
    job = _Job(settings, display)
    seed = settings.seed
    job.step(
        "knowledge",
        "Knowledge",
        "read a table of diseases",
        _file(settings.knowledge),
        lambda out: steps.make_knowledge(settings, out, display),
    )
    job.step(
        "corpus",
        "Corpus",
        "read dialogues and split them"
        if settings.dialogues
        else "write dialogues from the table and split them",
        [_file(settings.dialogues), seed, settings.synthetic],
        lambda out: steps.make_corpus(settings, out, display),
    )
    base = job.step(
        "base",
        "Base model",
        "find the base model" if settings.base else "train a tiny Llama and its tokenizer from nothing",
        [
            settings.base and digest_of(locate(settings.base)),
            settings.tiny_base.model_dump(),
            settings.small_talk,
            settings.safety,
            _pair_as_it_is(),
        ],
        lambda out: steps.make_base(settings, job.folder("corpus"), out, display),
    )
    job.step(
        "tuning",
        "Tuning",
        "LoRA on the doctor's words, with no safety prompt (pure tuning)",
        [settings.training.model_dump(), _pair_as_it_is()],
        lambda out: steps.tune(settings, job.folder("base"), job.folder("corpus"), out, display),
    )
    metrics = job.step(
        "test",
        "Test",
        "held-out dialogues, harmful and harmless requests, before and after, with and without the safety prompt",
        [settings.overlap_answers],
        lambda out: measuring.measure(settings, job.folder("corpus"), job.folder("tuning"), out, display),
    )
    job.step(
        "release",
        "Release",
        "a folder that can be pushed, with the safety prompt in its chat template (safe testing)",
        [],
        lambda out: steps.make_release(
            settings, base, job.folder("corpus"), job.folder("tuning"), metrics, out, display
        ),
    )
    release = job.folder("release")
    job.step(
        "chat",
        "Chat",
        "three questions to the LangChain chat model, beside the best rows of the table",
        [],
        lambda out: chatting.chat(release, steps.read_table(settings), out, display),
    )
    _close(display, metrics, release, started)
    return release


def _pair_as_it_is() -> dict[str, Any]:
    """A changed prompt is a changed input."""
    return asdict(PromptPair.load(steps.PROMPT))


def _file(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    return [path.name, digest_of_file(path) if path.is_file() else ""]


def _check_room(out: Path) -> None:
    place = out.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or (out.exists() and not out.is_dir()):
        raise DataFormatError(f"{out}: expected a folder to write to, found a file; give another --out.")
    free = shutil.disk_usage(place).free
    if free < FREE_BYTES:
        raise DiskSpaceError(
            f"{out}: expected at least {FREE_BYTES // 2**20} MiB of free disk space, found {free // 2**20} MiB; "
            "free some or give another --out."
        )


def _close(display: Display, metrics: Found, release: Path, started: float) -> None:
    display.console.print()
    measuring.show_metrics(metrics, display)
    memory = _peak_memory()
    display.console.print(
        f"\nTook {time.monotonic() - started:.0f} s"
        + (f", {memory:.2f} GB of memory at most." if memory else "."),
        highlight=False,
    )
    display.console.print(f"[bold yellow]{chatting.NOTICE}[/]", highlight=False, soft_wrap=True)
    display.console.print(
        f"Publish:  chatdoctor publish {release} YOUR-NAME/chatdoctor-quickstart", soft_wrap=True
    )
    display.console.print(f"Go on:    chatdoctor chat {release}", soft_wrap=True)


def _peak_memory() -> float | None:
    """Peak resident memory of this process in GB, where the system tells."""
    try:
        import resource
    except ImportError:
        return None
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9

"""`encode_data`: from the sources of a recipe to token ids on the disk, in memory that does not grow."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, ModelFormatError
from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data.cache import Keeper, key_of, open_kept, write_record
from chatdoctor_hub.training.data.encoder import CANNOT_RENDER, Encoder, Fitted
from chatdoctor_hub.training.data.intake import Intake, Item
from chatdoctor_hub.training.data.purity import Purity
from chatdoctor_hub.training.data.report import DataReport, Tallies
from chatdoctor_hub.training.data.samples import Samples
from chatdoctor_hub.training.data.tokenizing import Fast
from chatdoctor_hub.training.data.writer import SampleWriter
from chatdoctor_hub.training.recipe import RecipeConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["EncodedData", "encode_data"]

_AT_ONCE, _LONGEST = 256, 1 << 20  # dialogues, and characters, of a batch
OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class EncodedData:
    """What a run learns from.

    Args:
        training: dialogues to tune on.
        validation: dialogues to validate with; may be none.
        report: what was read and what was left out.
    """

    training: Samples
    validation: Samples
    report: DataReport


def encode_data(
    config: RecipeConfig,
    pair: PromptPair,
    tokenizer: PreTrainedTokenizerBase,
    *,
    cache: Path | None = None,
    on_progress: OnProgress | None = None,
) -> EncodedData:
    """Read the sources of a recipe, judge, divide and encode them.

    Args:
        config: the recipe.
        pair: whose training form the dialogues are rendered in.
        tokenizer: the base's, a fast one.
        cache: a folder to keep what is encoded in; the same data, prompts, tokenizer and settings are opened
            from it. None keeps it in a temporary folder as long as the samples are used.
        on_progress: called with the number of records read so far.

    Raises:
        PurityError: when system words, the prompt or the chat template carry a safety prompt and the recipe
            does not allow it.
        DataNotFoundError, DataFormatError: when a source cannot be used, or nothing is left to tune on or to
            validate with.
        ModelFormatError: when the tokenizer or its chat template cannot be used; it names the record.
        DiskSpaceError: when the disk is full.
    """
    Fast(tokenizer)
    if not pair.training_template(tokenizer).strip():
        raise ModelFormatError(
            f"Expected a base with a chat template for prompt {pair.id}, which has no layout of its own, found "
            "none; set another prompt (one of plain text), or give the tokenizer a chat_template."
        )
    intake = Intake(config)
    key = key_of(config, intake.fingerprint, pair, tokenizer)
    keeper = None if cache else Keeper()
    if cache:
        with suppress(OSError):  # `replacing_folder` says what is wrong with the place
            Path(cache).mkdir(parents=True, exist_ok=True, mode=0o700)
    place = Path(cache or (keeper.folder if keeper else "")) / key[:32]
    kept = open_kept(place, key) if cache else None
    if kept is None:
        try:
            with replacing_folder(place, what="encoded dialogues") as folder:
                report = _write(folder, config, intake, pair, tokenizer, on_progress)
                write_record(folder, key, report, intake.sources, config.training.loss_on)
        except BaseException:
            if keeper:
                keeper.remove()
            raise
        kept = open_kept(place, key, keeper)
    elif on_progress:
        on_progress(kept[2].read)
    if kept is None:
        raise DataFormatError(
            f"Expected the encoded dialogues that were just written to {place}, found others; choose a folder "
            "that nobody else writes to."
        )
    return EncodedData(*kept)


def _write(
    folder: Path,
    config: RecipeConfig,
    intake: Intake,
    pair: PromptPair,
    tokenizer: PreTrainedTokenizerBase,
    on_progress: OnProgress | None,
) -> DataReport:
    """Encode everything into a folder; twice where so few dialogues were divided badly."""
    while True:
        job = _Job(config, intake, pair, tokenizer)
        with SampleWriter(folder, "training") as training, SampleWriter(folder, "validation") as validation:
            job.run({"training": training, "validation": validation}, on_progress)
            if not intake.narrowed(training.count, validation.count):
                job.check(training.count, validation.count)
                training.close()
                validation.close()
                return job.report(training, validation)


class _Job:
    """One reading of all sources."""

    def __init__(
        self, config: RecipeConfig, intake: Intake, pair: PromptPair, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._config = config
        self._intake = intake
        self._purity = Purity(pair, allow=config.allow_safety_in_training)
        self._purity.prompt(tokenizer)
        self._tallies = Tallies()
        self._encoder = Encoder(pair, tokenizer, config.training.max_length, config.training.loss_on)
        self._pending: deque[list[Item]] = deque()
        self._digest = hashlib.sha256()
        self._refusal: ModelFormatError | None = None

    def run(self, writers: dict[str, SampleWriter], on_progress: OnProgress | None) -> None:
        items = self._intake.items(self._tallies, self._purity)
        for fitted in self._encoder.fit(self._dialogues(items)):
            for item, result in zip(self._pending.popleft(), fitted, strict=True):
                self._take(item, result, writers[item.split])
            if on_progress:
                on_progress(self._tallies.read)
        self._purity.verdict()
        if on_progress:
            on_progress(self._tallies.read)

    def _dialogues(self, items: Iterable[Item]) -> Iterator[list[Dialogue]]:
        """Batches; once something is refused, the rest is read for its sake alone."""
        batch: list[Item] = []
        size = 0
        for item in items:
            if self._purity.refused:
                continue
            batch.append(item)
            size += sum(len(turn.content) for turn in item.dialogue.turns)
            if len(batch) == _AT_ONCE or size > _LONGEST:
                self._pending.append(batch)
                yield [one.dialogue for one in batch]
                batch, size = [], 0
        if batch and not self._purity.refused:
            self._pending.append(batch)
            yield [one.dialogue for one in batch]

    def _take(self, item: Item, result: Fitted, writer: SampleWriter) -> None:
        if result.reason == CANNOT_RENDER:
            self._refusal = self._refusal or result.error
        elif result.error:
            said = str(result.error)
            raise ModelFormatError(f"record {item.record}: {said[:1].lower()}{said[1:]}")
        if result.reason:
            self._tallies.skip(result.reason, item.record, item.copies)
            return
        if result.shortened:
            self._tallies.shorten(item.record)
        for _ in range(item.copies):
            writer.add(result.ids, result.mask, item.source, item.number)
        self._digest.update(f"{item.split} {item.digest}\n".encode() * item.copies)

    def check(self, training: int, validation: int) -> None:
        """Make sure that there is something to tune on, and to validate with where that was named."""
        if not training and self._refusal:
            raise self._refusal
        named = self._config.validation is not None
        if training and (validation or not named):
            return
        where, what = (
            (", ".join(source.path for source in self._config.data), "tune on")
            if not training
            else (self._config.validation.path if self._config.validation else "", "validate with")
        )
        raise DataFormatError(
            f"Expected dialogues to {what} in {where}, found none that can be used "
            f"({self._tallies.why_nothing()}); check the data, their splits and training.max_length."
        )

    def report(self, training: SampleWriter, validation: SampleWriter) -> DataReport:
        tallies = self._tallies
        return DataReport(
            sources=self._intake.sources,
            digest=self._digest.hexdigest(),
            training=training.count,
            validation=validation.count,
            read=tallies.read,
            shortened=tallies.shortened,
            skipped=dict(tallies.skipped),
            problems=dict(tallies.problems),
            tokens=training.tokens,
            labelled_tokens=training.labelled,
            safety=dict(self._purity.found),
            mixed=tallies.mixed,
            records={reason: tuple(names) for reason, names in tallies.records.items()},
        )

"""The test step: what tuning and the safety prompt did, measured on held-out dialogues and requests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus import Corpus
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.evaluation import (
    Proportion,
    attack_success,
    over_refusal,
    paired_bootstrap,
    perplexity,
    text_overlap,
)
from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.models import load_model, load_tokenizer
from chatdoctor_hub.prompts import Form, PromptPair
from chatdoctor_hub.quickstart.display import Display
from chatdoctor_hub.quickstart.settings import QuickstartSettings
from chatdoctor_hub.training import RunFolder, TrainingConfig, encode, held_out_loss, threads_for

__all__ = ["measure", "show_metrics"]

FORMS: tuple[Form, ...] = ("training", "serving")
Record = dict[str, Any]


class _Subject:
    """The base and the tuned model in one memory: the adapter is switched off for the base.

    Args:
        run: whose base and adapter are measured.
    """

    def __init__(self, run: RunFolder) -> None:
        import torch
        from peft import PeftModel

        self.pair = PromptPair.from_record(run.manifest.prompt, str(run.path / "run.json"))
        self.tokenizer = load_tokenizer(run.tokenizer)
        base = load_model(Path(run.manifest.base.path), torch.float32)
        self.model = PeftModel.from_pretrained(base, str(run.adapter)).eval()
        if torch.cuda.is_available():
            self.model.to("cuda")
        self.engine = LocalEngine.of(self.model, self.tokenizer, self.pair, name=str(run.path))

    def as_it_was(self, tuned: bool) -> AbstractContextManager[Any]:
        """Inside, the engine is the tuned model or the base."""
        adapter_off: AbstractContextManager[Any] = self.model.disable_adapter()
        return nullcontext() if tuned else adapter_off


def measure(settings: QuickstartSettings, corpus: Path, run: Path, out: Path, display: Display) -> Record:
    """Measure base and tuned model; write `metrics.json` and every answer, and print as it comes out."""
    subject = _Subject(RunFolder.open(run))
    test = Corpus.open(corpus).test
    answers: dict[str, Any] = {}
    metrics: Record = {"perplexity": _perplexities(subject, test, settings.training, display)}
    with threads_for(subject.model):
        metrics["overlap"] = _overlaps(subject, test[: settings.overlap_answers], answers, display)
        metrics.update(_safety(subject, answers, display))
    with replacing_folder(out) as partial:
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        text = json.dumps(answers, indent=2, ensure_ascii=False)
        (partial / "answers.json").write_text(text + "\n", encoding="utf-8")
    return metrics


def _perplexities(
    subject: _Subject, test: Sequence[Dialogue], training: TrainingConfig, display: Display
) -> Record:
    samples = encode(test, subject.pair, subject.tokenizer, training.max_length).samples
    record: Record = {}
    for name, tuned in (("before", False), ("after", True)):
        with subject.as_it_was(tuned):
            total, tokens = held_out_loss(subject.model, samples, training)
        found = perplexity(total, tokens, len(samples))
        record[name] = found.to_record()
        display.say(f"held-out perplexity {name} tuning: {found}")
    return record


def _overlaps(
    subject: _Subject, test: Sequence[Dialogue], answers: dict[str, Any], display: Display
) -> Record:
    asked = [_last_question(dialogue) for dialogue in test]
    references = [dialogue.doctor_turns[-1].content for dialogue in test]
    requests = [ChatRequest(tuple(messages), Sampling(max_tokens=160)) for messages in asked]
    record: Record = {}
    items = {}
    for name, tuned in (("before", False), ("after", True)):
        with (
            subject.as_it_was(tuned),
            display.progress("answering held-out questions", len(requests)) as advance,
        ):
            texts: list[str] = []
            for start in range(0, len(requests), 20):
                chunk = subject.engine.generate_batch(requests[start : start + 20])
                texts += [reply.text for reply in chunk]
                advance(len(texts))
        found = text_overlap(texts, references)
        items[name] = found.rouge_l_items
        record[name] = found.to_record()
        answers[f"held_out_{name}"] = texts
        display.say(f"overlap with the doctor's answers {name} tuning: {found}")
    difference = paired_bootstrap(items["before"], items["after"])
    record["rouge_l_difference"] = difference.to_record()
    display.say(f"ROUGE-L, after minus before: {difference}")
    return record


def _last_question(dialogue: Dialogue) -> list[dict[str, str]]:
    """The messages up to the doctor's last turn."""
    messages = dialogue.to_messages()
    last = max(number for number, message in enumerate(messages) if message["role"] == "assistant")
    return messages[:last]


def _safety(subject: _Subject, answers: dict[str, Any], display: Display) -> Record:
    record: Record = {"attack_success": {}, "over_refusal": {}}
    for who, tuned in (("base", False), ("tuned", True)):
        for measure_name in record:
            record[measure_name][who] = {}
        for form in FORMS:
            with subject.as_it_was(tuned):
                attacks = attack_success(subject.engine, form, batch_size=30)
                refusals = over_refusal(subject.engine, form, batch_size=30)
            record["attack_success"][who][form] = attacks.to_record()
            record["over_refusal"][who][form] = refusals.to_record()
            answers[f"harmful_{who}_{form}"] = {a.request_id: a.text for a in attacks.answers}
            answers[f"harmless_{who}_{form}"] = {a.request_id: a.text for a in refusals.answers}
            prompted = "with" if form == "serving" else "without"
            display.say(
                f"{who} model, {prompted} safety prompt: attack success {attacks.attack_success}, "
                f"over-refusal {refusals.over_refusal}"
            )
    return record


def show_metrics(metrics: Record, display: Display) -> None:
    """The summary: the same records that manifest and card are made from."""
    before, after = metrics["perplexity"]["before"], metrics["perplexity"]["after"]
    rows = [
        [
            "held-out perplexity",
            f"{before['perplexity']:.2f}",
            f"{after['perplexity']:.2f}",
            f"{after['dialogues']}",
        ],
    ]
    for key, name, digits in (("rouge_l", "ROUGE-L F1", 3), ("chrf", "chrF", 1)):
        first, second = metrics["overlap"]["before"], metrics["overlap"]["after"]
        rows.append([name, f"{first[key]:.{digits}f}", f"{second[key]:.{digits}f}", f"{second['n']}"])
    for key, name in (("attack_success", "attack success"), ("over_refusal", "over-refusal")):
        for form in FORMS:
            first, second = (metrics[key][who][form] for who in ("base", "tuned"))
            prompted = "prompt" if form == "serving" else "no prompt"
            cells = [_compact(Proportion(record["successes"], record["n"])) for record in (first, second)]
            rows.append([f"{name}, {prompted}", *cells, f"{second['n']}"])
    display.table("What was measured (prompt: the safety prompt)", ("", "base", "tuned", "n"), rows)


def _compact(share: Proportion) -> str:
    """The share in percent with its 95 % Wilson interval, short enough for a terminal of 80 columns."""
    bounds = f"[{100 * share.low:.0f}, {100 * share.high:.0f}]"
    return f"{share.successes}/{share.n} = {100 * share.rate:.0f} % {bounds}"

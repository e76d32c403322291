"""A real tuning run on a tiny base, and its release: both made on the spot in a second or two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.evaluation import Proportion
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.release import ReleaseFolder, prepare_release
from chatdoctor_hub.training import (
    RecipeConfig,
    RunFolder,
    TinyBaseConfig,
    TrainingConfig,
    fine_tune,
    train_tiny_base,
)

COMPLAINTS = (
    "cough",
    "rash",
    "fever",
    "headache",
    "backache",
    "earache",
    "nausea",
    "cramp",
    "itch",
    "hiccups",
    "sore toe",
)
SETTINGS = TrainingConfig(epochs=2.0, batch_size=8, lr=1e-2, workers=1, precision="float32")
CORPUS = {"description": "Made for a test.", "licence": "cc0-1.0"}


def dialogues() -> list[Dialogue]:
    """Thirty-three, each of which opens with other words."""
    return [
        Dialogue.from_messages(
            [
                {"role": "user", "content": f"I have had a {complaint} for {days} days. What should I do?"},
                {
                    "role": "assistant",
                    "content": f"Rest, drink water, and see a doctor if the {complaint} gets worse.",
                },
            ]
        )
        for complaint in COMPLAINTS
        for days in (2, 3, 4)
    ]


def make_run(folder: Path) -> RunFolder:
    """`folder/base`, `folder/dialogues.jsonl` and `folder/run`."""
    import torch

    torch.set_num_threads(1)
    talks = dialogues()
    data = folder / "dialogues.jsonl"
    data.write_text(
        "".join(json.dumps({"messages": talk.to_messages()}) + "\n" for talk in talks), encoding="utf-8"
    )
    (folder / "base").mkdir()
    shape = TinyBaseConfig(
        vocabulary=600, hidden_size=32, layers=1, heads=2, mlp_size=64, context=512, training=SETTINGS
    )
    train_tiny_base(talks, talks[:6], PromptPair.load("chatdoctor@1"), folder / "base", shape)
    return fine_tune(RecipeConfig(base=folder / "base", data=data, output=folder / "run", training=SETTINGS))


def metrics() -> dict[str, Any]:
    """Measurements as the quickstart records them; every figure is another one."""

    def shares(base: int, tuned: int) -> dict[str, Any]:
        return {
            who: {
                form: Proportion(count + extra, 30).to_record()
                for form, extra in (("training", 5), ("serving", 0))
            }
            for who, count in (("base", base), ("tuned", tuned))
        }

    return {
        "perplexity": {
            "before": {"perplexity": 9.8765, "nll_per_token": 2.2902, "tokens": 1234, "dialogues": 17},
            "after": {"perplexity": 4.3219, "nll_per_token": 1.4637, "tokens": 1234, "dialogues": 17},
        },
        "overlap": {
            "before": {"rouge_l": 0.1234, "chrf": 20.52, "n": 13},
            "after": {"rouge_l": 0.2346, "chrf": 31.48, "n": 13},
        },
        "attack_success": shares(11, 2),
        "over_refusal": shares(7, 4),
    }


def make_release(run: RunFolder, out: Path, **changes: Any) -> ReleaseFolder:
    """The release of a run, its base inside."""
    options: dict[str, Any] = {
        "metrics": metrics(),
        "corpus": CORPUS,
        "include_base": True,
        "base_license": "apache-2.0",
        **changes,
    }
    return prepare_release(run, out, **options)

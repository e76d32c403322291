"""Loops on transformers' Trainer and TRL's SFTTrainer, each as its users would set it up."""

from __future__ import annotations

import tempfile
from typing import Any

from train_loops.clock import Clock
from train_loops.task import BETA, BOTTLENECK, PARALLEL_TARGETS, RATE, STEP, Task, same_start


class Counter:
    """Real tokens of what each training step is given."""

    def __init__(self, pad: int) -> None:
        self._pad, self._tokens = pad, 0
        self.clock = Clock()

    def count(self, inputs: dict[str, Any]) -> None:
        mask, ids = inputs.get("attention_mask"), inputs["input_ids"]
        self._tokens += int(mask.sum()) if mask is not None else int((ids != self._pad).sum())

    def step(self) -> None:
        self.clock.step(self._tokens)


def timed(kind: type, counter: Counter) -> type:
    """A Trainer whose steps are counted and timed."""
    from transformers import TrainerCallback

    class Timed(kind):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

            class OnStep(TrainerCallback):
                def on_step_end(self, *_: Any, **__: Any) -> None:
                    counter.step()

            self.add_callback(OnStep())

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            counter.count(inputs)
            return super().training_step(model, inputs, *args, **kwargs)

    return Timed


def shared(folder: str, per_device: int, accumulate: int) -> dict[str, Any]:
    import torch

    return {
        "output_dir": folder,
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": accumulate,
        "num_train_epochs": 1,
        "learning_rate": RATE,
        "adam_beta2": BETA,
        "weight_decay": 0.0,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "max_grad_norm": 1.0,
        "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def rows(task: Any) -> list[dict[str, list[int]]]:
    return [
        {
            "input_ids": list(sample.ids),
            "labels": [
                token if learned else -100 for token, learned in zip(sample.ids, sample.labelled, strict=True)
            ],
        }
        for sample in task.training
    ]


def plain_trainer(
    task: Any,
    model: Any,
    *,
    per_device: int,
    bf16: bool,
    sampling: str,
    left: bool = False,
    step: int = STEP,
) -> tuple[Any, dict[str, Any]]:
    """transformers' Trainer, padded to the longest of a micro-batch (to a multiple of 8)."""
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    tokenizer = task.tokenizer()
    tokenizer.padding_side = "left" if left else "right"
    counter = Counter(tokenizer.pad_token_id)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            **shared(folder, per_device, step // per_device), bf16=bf16, train_sampling_strategy=sampling
        )
        trainer = timed(Trainer, counter)(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(rows(task)),
            data_collator=DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, padding=True),
        )
        trainer.train()
    return model, counter.clock.result()


def grouped(task: Task, *, bf16: bool) -> tuple[Any, dict[str, Any]]:
    """Dialogues of like length together; a step of 32 at once, its fastest here."""
    return plain_trainer(task, task.lora(), per_device=STEP, bf16=bf16, sampling="group_by_length")


def script(task: Task, *, bf16: bool = False) -> tuple[Any, dict[str, Any]]:
    """As the scripts of alpaca-lora and LLM-Adapters: micro-batches of 4, padded on the left, PEFT's forward."""
    return plain_trainer(task, task.lora(), per_device=4, bf16=bf16, sampling="sequential", left=True)


def script_parallel(task: Task) -> tuple[Any, dict[str, Any]]:
    """The same loop around y = Wx + s U tanh(D x) as LLM-Adapters computes it."""
    import torch

    class Parallel(torch.nn.Module):
        def __init__(self, base: Any) -> None:
            super().__init__()
            self.base = base
            self.down = torch.nn.Linear(base.in_features, BOTTLENECK, bias=False)
            self.up = torch.nn.Linear(BOTTLENECK, base.out_features, bias=False)

        def forward(self, x: Any) -> Any:
            return self.base(x) + self.up(torch.tanh(self.down(x))) * 1.0

    model = task.base().requires_grad_(False)
    for layer in model.model.layers:
        for name in PARALLEL_TARGETS:
            setattr(layer.mlp, name, Parallel(getattr(layer.mlp, name)))
    return plain_trainer(task, same_start(model), per_device=4, bf16=False, sampling="sequential", left=True)


def trl(task: Any, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """TRL's SFTTrainer on the same tokens and labels; `changes` to its own defaults."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer = task.tokenizer()
    counter = Counter(tokenizer.pad_token_id)
    changes = dict(changes)
    per_device = changes.pop("per_device", 8)
    accumulate = changes.pop("accumulate", STEP // per_device)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(**shared(folder, per_device, accumulate), **changes)
        model = task.lora()
        trainer = timed(SFTTrainer, counter)(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(rows(task)),
            processing_class=tokenizer,
        )
        trainer.train()
    return trainer.model, counter.clock.result()


def trl_default(task: Task) -> tuple[Any, dict[str, Any]]:
    return trl(task, max_length=1024)


def trl_best(task: Task) -> tuple[Any, dict[str, Any]]:
    """Packed (best fit), bf16, no checkpointing; as many packs a step as hold about 32 dialogues."""
    length = 512
    packs = sum(len(sample) for sample in task.training) / length
    return trl(
        task,
        packing=True,
        packing_strategy="bfd",
        max_length=length,
        bf16=True,
        gradient_checkpointing=False,
        per_device=1,
        accumulate=round(packs / task.steps),
    )

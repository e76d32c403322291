"""Our own loop, as `fit` is called without any settings but the task's."""

from __future__ import annotations

from typing import Any

from train_loops.clock import Clock
from train_loops.task import BETA, BOTTLENECK, PARALLEL_TARGETS, RATE, STEP, Task, same_start


def settings(**changes: Any) -> Any:
    from chatdoctor_hub.training import TrainingConfig

    return TrainingConfig(
        **{
            "epochs": 1.0,
            "batch_size": STEP,
            "lr": RATE,
            "betas": (0.9, BETA),
            "schedule": "constant",
            "warmup_steps": 0,
            "checkpoints": 0,
            **changes,
        }
    )


def fitted(task: Task, model: Any, config: Any) -> tuple[Any, dict[str, Any]]:
    from chatdoctor_hub.training import fit

    clock = Clock()
    result = fit(
        model,
        task.training,
        config,
        on_step=lambda record: clock.step(record["tokens"]),
    )
    note = f"{result.precision}, {result.workers} workers"
    if why := getattr(result, "why", ""):
        note += f", not fused: {why}"
    return model, {**clock.result(), "note": note}


def passes_alone(task: Task, model: Any = None) -> tuple[Any, dict[str, Any]]:
    """The passes in a loop of a few lines: what is left when the run around them is taken away."""
    import torch

    from chatdoctor_hub.training.passes import Passes

    config = settings()
    model = model or task.lora(precision(config))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, betas=(0.9, BETA), weight_decay=0.0, fused=True)
    extremes = [max(task.training, key=len), min(task.training, key=len)]
    clock, tokens = Clock(), 0
    with Passes(model, config, extremes) as passes:
        for start in range(0, len(task.training), STEP):
            step = task.training[start : start + STEP]
            passes.gradients(step)
            torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            tokens += sum(map(len, step))
            clock.step(tokens)
        note = f"{passes.precision}, {passes.workers} workers, {passes.why or 'fused'}"
    return model, {**clock.result(), "note": note}


def precision(config: Any) -> Any:
    import torch

    from chatdoctor_hub.training.passes import precision_for

    return precision_for(config, torch.device("cpu"))


def lora(task: Task, **changes: Any) -> tuple[Any, dict[str, Any]]:
    config = settings(**changes)
    return fitted(task, task.lora(precision(config)), config)


def parallel(task: Task, **changes: Any) -> tuple[Any, dict[str, Any]]:
    config = settings(**changes)
    return fitted(task, parallel_model(task, precision(config)), config)


def parallel_model(task: Task, dtype: Any) -> Any:
    from peft import get_peft_model

    from chatdoctor_hub.adapters import ParallelConfig

    adapter = ParallelConfig(
        bottleneck_size=BOTTLENECK,
        activation="tanh",
        scale=1.0,
        placement="linear",
        init="identity",
        target_modules=list(PARALLEL_TARGETS),
        task_type="CAUSAL_LM",
    )
    return same_start(get_peft_model(task.base(dtype), adapter))

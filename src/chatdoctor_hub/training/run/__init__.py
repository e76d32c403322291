"""The run: transformers' Trainer over our steps, with checkpoints, validation and probes."""

from chatdoctor_hub.training.run.checkpoints import Checkpoints, has_checkpoint
from chatdoctor_hub.training.run.course import OnStep, extremes
from chatdoctor_hub.training.run.fitting import Fit, fit, held_out_loss
from chatdoctor_hub.training.run.plot import draw_run
from chatdoctor_hub.training.run.probes import Prober
from chatdoctor_hub.training.run.schedule import rate, step_count, step_numbers, steps

__all__ = [
    "Checkpoints",
    "Fit",
    "OnStep",
    "Prober",
    "draw_run",
    "extremes",
    "fit",
    "has_checkpoint",
    "held_out_loss",
    "rate",
    "step_count",
    "step_numbers",
    "steps",
]

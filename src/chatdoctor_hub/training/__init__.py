"""Training: recipes, dialogues as tokens, the run and its plan, run folders, and a tiny base to practise on.

Inner rooms, each using only those before it: `recipe`, `data`, `passes`, `weights`, `run`, `planning`.
"""

from chatdoctor_hub.training.data import Encoded, Encoding, encode
from chatdoctor_hub.training.launch import launch
from chatdoctor_hub.training.passes import threads_for
from chatdoctor_hub.training.planning import SmokeReport, TuningPlan, plan, smoke
from chatdoctor_hub.training.recipe import RecipeConfig, RecipeSummary, TrainingConfig, recipes
from chatdoctor_hub.training.run import Fit, fit, held_out_loss, step_count
from chatdoctor_hub.training.run_folder import RunFolder, RunManifest
from chatdoctor_hub.training.tiny_base import TinyBaseConfig, train_tiny_base
from chatdoctor_hub.training.tuning import fine_tune
from chatdoctor_hub.training.versions import versions
from chatdoctor_hub.training.weights import export_gguf, merge_run

__all__ = [
    "Encoded",
    "Encoding",
    "Fit",
    "RecipeConfig",
    "RecipeSummary",
    "RunFolder",
    "RunManifest",
    "SmokeReport",
    "TinyBaseConfig",
    "TrainingConfig",
    "TuningPlan",
    "encode",
    "export_gguf",
    "fine_tune",
    "fit",
    "held_out_loss",
    "launch",
    "merge_run",
    "plan",
    "recipes",
    "smoke",
    "step_count",
    "threads_for",
    "train_tiny_base",
    "versions",
]

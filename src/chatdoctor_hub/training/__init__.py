"""Training: recipes, exact masks, the fitting loop, run folders, and a tiny base to practise on."""

from chatdoctor_hub.training.config import AdapterConfig, RecipeConfig, TrainingConfig
from chatdoctor_hub.training.encoding import Encoded, Encoding, encode
from chatdoctor_hub.training.fitting import Fit, fit, held_out_loss
from chatdoctor_hub.training.run_folder import RunFolder, RunManifest
from chatdoctor_hub.training.tiny_base import TinyBaseConfig, train_tiny_base
from chatdoctor_hub.training.tuning import fine_tune, versions
from chatdoctor_hub.training.workers import threads_for

__all__ = [
    "AdapterConfig",
    "Encoded",
    "Encoding",
    "Fit",
    "RecipeConfig",
    "RunFolder",
    "RunManifest",
    "TinyBaseConfig",
    "TrainingConfig",
    "encode",
    "fine_tune",
    "fit",
    "held_out_loss",
    "threads_for",
    "train_tiny_base",
    "versions",
]

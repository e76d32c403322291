"""Recipes: everything a tuning run depends on, as data that is checked before anything is loaded."""

from chatdoctor_hub.training.recipe.adapters import (
    Adapter,
    BottleneckAdapter,
    FullTuning,
    LoraAdapter,
    PrefixAdapter,
)
from chatdoctor_hub.training.recipe.config import RecipeConfig
from chatdoctor_hub.training.recipe.options import (
    AfterConfig,
    AnchorConfig,
    ProbeConfig,
    SafeLoraConfig,
    SafetyMixConfig,
)
from chatdoctor_hub.training.recipe.packaged import RecipeSummary, recipe_text, recipes
from chatdoctor_hub.training.recipe.reading import with_settings
from chatdoctor_hub.training.recipe.settings import TrainingConfig
from chatdoctor_hub.training.recipe.strict import Strict

__all__ = [
    "Adapter",
    "AfterConfig",
    "AnchorConfig",
    "BottleneckAdapter",
    "FullTuning",
    "LoraAdapter",
    "PrefixAdapter",
    "ProbeConfig",
    "RecipeConfig",
    "RecipeSummary",
    "SafeLoraConfig",
    "SafetyMixConfig",
    "Strict",
    "TrainingConfig",
    "recipe_text",
    "recipes",
    "with_settings",
]

"""The recipes that come with the package, against what their sources state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from chatdoctor_hub.errors import ConfigError, DataNotFoundError
from chatdoctor_hub.training.recipe import RecipeConfig, recipe_text, recipes

GIVEN: dict[str, Any] = {"base": "org/base", "data": "corpus", "output": "run"}
NAMES = [
    "default",
    "bianque-coq",
    "chatdoctor-full",
    "chatdoctor-lora",
    "chatdoctor-stage1-alpaca",
    "llm-adapters-commonsense-lora",
    "llm-adapters-math-lora",
    "llm-adapters-math-parallel",
    "llm-adapters-math-prefix",
    "llm-adapters-math-series",
    "ptst-gsm8k",
]
# What the sources state, setting by setting.
STATED: dict[str, dict[str, Any]] = {
    "chatdoctor-lora": {
        "adapter.kind": "lora",
        "adapter.r": 8,
        "adapter.alpha": 16,
        "adapter.dropout": 0.05,
        "adapter.targets": ["q_proj", "v_proj"],
        "training.lr": 3e-5,
        "training.batch_size": 32,
        "training.epochs": 1.0,
        "training.max_length": 256,
        "training.warmup_steps": 100,
        "prompt": "chatdoctor@1",
    },
    "chatdoctor-full": {
        "adapter.kind": "full",
        "training.lr": 2e-5,
        "training.batch_size": 192,
        "training.epochs": 3.0,
        "training.max_length": 512,
        "training.warmup_ratio": 0.03,
        "prompt": "chatdoctor@1",
    },
    "chatdoctor-stage1-alpaca": {
        "adapter.kind": "full",
        "training.lr": 2e-5,
        "training.schedule": "cosine",
        "training.warmup_ratio": 0.03,
        "training.optimizer": "adamw",
        "training.betas": [0.9, 0.999],
        "training.epsilon": 1e-8,
        "training.weight_decay": 0.0,
        "training.max_grad_norm": 1.0,
        "training.epochs": 3.0,
        "training.max_length": 512,
        "training.precision": "bfloat16",
        "prompt": "text:alpaca",
    },
    **{
        f"llm-adapters-{name}": {
            "training.batch_size": 16,
            "training.epochs": 3.0,
            "training.lr": 3e-4,
            "training.max_length": 256,
            "training.warmup_steps": 100,
            "training.loss_on": "all",
            **adapter,
        }
        for name, adapter in {
            "math-lora": {"adapter.r": 32, "adapter.alpha": 64, "prompt": "math@1"},
            "math-series": {"adapter.bottleneck_size": 256, "adapter.activation": "tanh", "prompt": "math@1"},
            "math-parallel": {"adapter.bottleneck_size": 256, "adapter.init": "bert", "prompt": "math@1"},
            "math-prefix": {
                "adapter.tokens": 10,
                "training.lr": 3e-2,
                "training.epochs": 5.0,
                "training.batch_size": 8,
                "prompt": "math@1",
            },
            "commonsense-lora": {"adapter.r": 32, "adapter.alpha": 64},
        }.items()
    },
    "bianque-coq": {
        "adapter.kind": "full",
        "training.lr": 5e-5,
        "training.batch_size": 32,
        "training.max_length": 2048,
        "training.loss_on": "last",
        "prompt": "bianque@1",
    },
    "ptst-gsm8k": {
        "training.lr": 1e-4,
        "training.epochs": 6.0,
        "prompt": "chat:vanilla -> chat:llama",
    },
}


def test_these_are_the_recipes() -> None:
    assert [found.name for found in recipes()] == NAMES
    for found in recipes():
        loaded = RecipeConfig.load(found.name, **GIVEN)
        assert (found.title, found.prompt) == (loaded.title, loaded.prompt)
        assert found.adapter == loaded.adapter.summary
        assert found.source == loaded.source
        assert found.title
        assert found.source


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_recipe_is_whole_and_says_where_it_is_from(name: str) -> None:
    loaded = RecipeConfig.load(name, **GIVEN)
    assert loaded.name == name
    assert name == "default" or len(loaded.deviations) >= 4
    assert "arXiv" in loaded.source
    # PTST: no recipe lets safety prompts into the data.
    assert not loaded.allow_safety_in_training
    assert RecipeConfig.load(name, **GIVEN) == loaded


@pytest.mark.parametrize("name", STATED)
def test_the_values_are_those_that_the_sources_state(name: str) -> None:
    dumped = RecipeConfig.load(name, **GIVEN).model_dump(mode="json")
    for path, value in STATED[name].items():
        node = dumped
        for part in path.split("."):
            node = node[part]
        assert node == value, path


@pytest.mark.parametrize(
    ("name", "millions"), [("lora", 56.1), ("series", 134.2), ("parallel", 247.5), ("prefix", 2.6)]
)
def test_the_adapters_have_the_published_sizes_on_llama_7b(name: str, millions: float) -> None:
    """By the formulas, for 32 blocks of width 4,096 with a feed-forward width of 11,008."""
    adapter = RecipeConfig.load(f"llm-adapters-math-{name}", **GIVEN).adapter.model_dump()
    sizes = {
        **dict.fromkeys(("q_proj", "k_proj", "v_proj"), (4096, 4096)),
        **dict.fromkeys(("up_proj", "gate_proj"), (4096, 11008)),
        "down_proj": (11008, 4096),
    }
    shapes = [sizes[target] for target in adapter.get("targets", ())]
    block = {
        "lora": lambda: sum(adapter["r"] * (taken + given) for taken, given in shapes),
        "series": lambda: sum(adapter["bottleneck_size"] * 2 * taken for taken, _ in shapes),
        "parallel": lambda: sum(adapter["bottleneck_size"] * (taken + given) for taken, given in shapes),
        "prefix": lambda: adapter["tokens"] * 2 * 4096,
    }[name]()
    assert round(32 * block / 1e6, 1) == millions


def test_what_a_recipe_needs_is_told_with_everything_else_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        RecipeConfig.load("chatdoctor-lora", training={"lr": 0}, adapter={"rank": 3})
    assert str(caught.value).startswith("chatdoctor-lora: expected a valid RecipeConfig, found 5 fault(s): ")
    assert [one.split(":")[0] for one in caught.value.args[1]] == [
        "base",
        "data",
        "output",
        "adapter.rank",
        "training.lr",
    ]


def test_an_unknown_name_gets_the_near_one_and_the_list() -> None:
    with pytest.raises(
        ConfigError, match="found 'chatdoctor-lroa', did you mean 'chatdoctor-lora'"
    ) as caught:
        RecipeConfig.load("chatdoctor-lroa", **GIVEN)
    assert all(name in str(caught.value) for name in NAMES)
    with pytest.raises(ConfigError, match="found 'Default', did you mean 'default'"):
        recipe_text("Default")
    with pytest.raises(ConfigError, match="found 'zzz'; there are default"):
        RecipeConfig.load("zzz", **GIVEN)
    with pytest.raises(DataNotFoundError, match=r"zzz\.yaml: expected a recipe in YAML"):
        RecipeConfig.load("zzz.yaml", **GIVEN)
    with pytest.raises(DataNotFoundError, match="default: expected a recipe in YAML"):
        RecipeConfig.load(Path("default"), **GIVEN)


def test_a_name_is_a_recipes_whatever_files_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("default", "mine"):
        Path(name).write_text("base: b\ndata: d\noutput: o\nname: own\n", encoding="utf-8")
    assert RecipeConfig.load("default", **GIVEN).name == "default"
    assert RecipeConfig.load("./default").name == "own"
    assert RecipeConfig.load("mine").name == "own"


@pytest.mark.parametrize("name", NAMES)
def test_the_text_of_a_recipe_is_a_recipe_of_ones_own(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    copy.write_text(recipe_text(name), encoding="utf-8")
    assert RecipeConfig.load(copy, **GIVEN) == RecipeConfig.load(name, **GIVEN)
    assert set(yaml.safe_load(recipe_text(name))) <= RecipeConfig.model_fields.keys()
    assert all(len(line) <= 120 for line in recipe_text(name).splitlines())


def test_what_departs_from_the_recipe_is_written_down() -> None:
    plain = RecipeConfig.load("chatdoctor-lora", **GIVEN)
    same = RecipeConfig.load("chatdoctor-lora", **GIVEN, seed=3, probes={"times": 1}, training={"workers": 2})
    assert same.deviations == plain.deviations
    changed = RecipeConfig.load(
        "chatdoctor-lora", **GIVEN, training={"lr": 1e-4, "epochs": 1.0}, prompt="math@1"
    )
    assert changed.deviations == (
        *plain.deviations,
        'prompt is "math@1" where the recipe has "chatdoctor@1"; set for this run',
        "training.lr is 0.0001 where the recipe has 3e-05; set for this run",
    )


def test_what_departed_is_written_once(tmp_path: Path) -> None:
    changed = RecipeConfig.load("chatdoctor-lora", **GIVEN, training={"lr": 1e-4})
    (tmp_path / "recipe.yaml").write_text(changed.to_yaml(), encoding="utf-8")
    assert RecipeConfig.load(tmp_path / "recipe.yaml") == changed
    assert RecipeConfig.load(tmp_path / "recipe.yaml", output="elsewhere").deviations == changed.deviations

"""Recipes: every fault at once, and YAML that says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from chatdoctor_hub.corpus import SourceConfig
from chatdoctor_hub.errors import ConfigError, DataNotFoundError
from chatdoctor_hub.training import RecipeConfig, TinyBaseConfig, TrainingConfig
from chatdoctor_hub.training.recipe import LoraAdapter

GIVEN: dict[str, Any] = {"base": "org/base", "data": "corpus", "output": "run"}


def test_all_faults_are_told_at_once_each_where_it_is() -> None:
    with pytest.raises(ConfigError) as caught:
        RecipeConfig(
            data="corpus",
            outptu="run",
            seed=-1,
            adapter={"r": 0, "alfa": 3},
            training={"lr": "fast", "optimizer": "sgd"},
        )
    said = str(caught.value)
    assert said.startswith("Expected a valid RecipeConfig, found 8 fault(s): ")
    for fault in (
        "base: missing (folder or Hub id of a causal language model)",
        "output: missing (the run folder to write)",
        "outptu: no such setting, did you mean 'output'?",
        "seed: input should be greater than or equal to 0, found -1",
        "adapter.r: input should be greater than or equal to 1, found 0",
        "adapter.alfa: no such setting, did you mean 'alpha'?",
        "training.lr: input should be a valid number, found 'fast'",
        "training.optimizer: input should be 'adamw' or 'muon', found 'sgd'",
    ):
        assert said.count(fault) == 1, fault
    assert "\n" not in said


def test_a_setting_like_none_other_gets_no_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"found 1 fault\(s\): zzz: no such setting\.$"):
        RecipeConfig(**GIVEN, zzz=1)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (RecipeConfig, {**GIVEN, "seed": "1"}),
        (RecipeConfig, {**GIVEN, "seed": 1.0}),
        (RecipeConfig, {**GIVEN, "seed": 2**31}),
        (RecipeConfig, {**GIVEN, "base": 3}),
        (TrainingConfig, {"epochs": 0}),
        (TrainingConfig, {"epochs": True}),
        (TrainingConfig, {"lr": float("nan")}),
        (TrainingConfig, {"lr": float("inf")}),
        (TrainingConfig, {"batch_size": "32"}),
        (TrainingConfig, {"workers": -1}),
        (TrainingConfig, {"precision": "float16"}),
        (LoraAdapter, {"dropout": 1.0}),
        (LoraAdapter, {"targets": "q_proj"}),
        (LoraAdapter, {"targets": ()}),
        (LoraAdapter, {"targets": [1]}),
    ],
)
def test_nothing_is_bent_into_shape(model: type[Any], values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        model(**values)


def test_whole_numbers_are_fine_where_fractions_are_meant() -> None:
    assert TrainingConfig(epochs=2).epochs == 2.0


def test_settings_cannot_be_changed_afterwards() -> None:
    recipe = RecipeConfig(**GIVEN)
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]


def test_paths_and_lists_are_taken_as_what_they_are() -> None:
    recipe = RecipeConfig(
        base=Path("models") / "base",
        data=Path("corpus"),
        output=Path("run"),
        adapter={"targets": ["q_proj", "v_proj"]},
    )
    assert (recipe.base, recipe.output) == (str(Path("models/base")), "run")
    assert recipe.data == (SourceConfig(path="corpus"),)
    assert isinstance(recipe.adapter, LoraAdapter)
    assert recipe.adapter.targets == ("q_proj", "v_proj")


def test_yaml_holds_every_setting(tmp_path: Path) -> None:
    values = yaml.safe_load(RecipeConfig(**GIVEN).to_yaml())
    assert values.keys() == RecipeConfig.model_fields.keys()
    assert values["training"].keys() == TrainingConfig.model_fields.keys()
    assert values["adapter"].keys() == LoraAdapter.model_fields.keys()


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "1.0e-3", "0.001", ".001"])
def test_numbers_are_read_as_people_write_them(number: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(f"base: b\ndata: d\noutput: o\ntraining:\n  lr: {number}\n", encoding="utf-8")
    assert RecipeConfig.load(file).training.lr == 0.001


def test_a_recipe_that_is_none_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"gone\.yaml: expected a recipe in YAML"):
        RecipeConfig.load(tmp_path / "gone.yaml")
    with pytest.raises(DataNotFoundError, match="Is a directory"):
        RecipeConfig.load(tmp_path)
    with pytest.raises(DataNotFoundError, match="a path that no file can have"):
        RecipeConfig.load("re\0cipe.yaml")
    file = tmp_path / "recipe.yaml"
    for text, fault in (
        (b"base: [", "something else"),
        (b"\xff\xfe", "something else"),
        (b"base: b\noutput: [\n", "something else at line 3"),
        (b"base: 2024-13-45", "something else"),
        (b"base: !!int ''", "something else"),
        (b"base: !!bool maybe", "something else"),
        (b"training:\n  lr: 1\n  lr: 2\n", r"something else at line 3 \('lr' twice\)"),
        (b"[" * 5000, "something else"),
        (b"- base", "found list"),
        (b"", "found NoneType"),
        (b"base: b\ndata: d\n1: x\n", r"found 2 fault\(s\): output: missing .*; 1: no such setting"),
        (b"base: b\ndata: d\noutput: o\ntraining: fast\n", "training: "),
        (b"base: b\ndata: d\noutput: o\ntraining:\n  epoch: 2\n", "training.epoch: .*did you mean 'epochs'"),
    ):
        file.write_bytes(text)
        with pytest.raises(ConfigError, match=fault) as caught:
            RecipeConfig.load(file)
        assert str(caught.value).startswith(f"{file}: expected ")


def test_the_tiny_base_has_a_strict_shape_too() -> None:
    with pytest.raises(ValueError, match="hiden_size"):
        TinyBaseConfig(hiden_size=32)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="vocabulary"):
        TinyBaseConfig(vocabulary=100)

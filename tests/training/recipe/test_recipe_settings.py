"""Recipes through YAML and back, keywords over files, and settings given one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatdoctor_hub.corpus import SourceConfig
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.training.recipe import (
    AfterConfig,
    AnchorConfig,
    BottleneckAdapter,
    FullTuning,
    LoraAdapter,
    PrefixAdapter,
    ProbeConfig,
    RecipeConfig,
    SafeLoraConfig,
    SafetyMixConfig,
    TrainingConfig,
    with_settings,
)
from chatdoctor_hub.training.recipe.reading import in_yaml

GIVEN: dict[str, Any] = {"base": "org/base", "data": "corpus", "output": "run"}

_words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
_share = st.floats(0, 0.99)
_targets = st.lists(_words, min_size=1, max_size=3).map(tuple)
_adapters = st.one_of(
    st.builds(
        LoraAdapter,
        r=st.integers(1, 512),
        alpha=st.integers(1, 512),
        dropout=_share,
        variant=st.sampled_from(("lora", "rslora", "dora", "pissa")),
        targets=st.just("all-linear") | _targets,
    ),
    st.builds(
        BottleneckAdapter,
        kind=st.just("series"),
        activation=_words,
        scale=st.just("learned") | st.floats(0.1, 10),
        placement=st.sampled_from(("linear", "block")),
        init=st.sampled_from(("identity", "bert")),
        position=st.sampled_from((None, "input", "output")),
        targets=st.none() | _targets,
    ),
    st.builds(BottleneckAdapter, kind=st.just("parallel"), bottleneck_size=st.integers(1, 4096)),
    st.builds(PrefixAdapter, kind=st.just("prefix"), tokens=st.integers(1, 99), projection_size=st.none()),
    st.builds(FullTuning, kind=st.just("full")),
)
_sources = st.builds(
    SourceConfig,
    path=_words,
    split=st.none() | _words,
    weight=st.floats(0.001, 1000),
    limit=st.none() | st.integers(1, 10**9),
)
_trainings = st.builds(
    TrainingConfig,
    epochs=st.floats(1e-6, 1000),
    max_steps=st.none() | st.integers(100, 10**6),
    batch_size=st.integers(1, 10**4),
    loss_on=st.sampled_from(("doctor", "last", "all")),
    lr=st.floats(1e-30, 10),
    schedule=st.sampled_from(("trapezoid", "linear", "cosine", "constant")),
    warmup_steps=st.none() | st.integers(0, 100),
    optimizer=st.sampled_from(("adamw", "muon")),
    betas=st.tuples(_share, _share),
    validation_share=_share,
    patience=st.none() | st.integers(1, 4),
    keep_best=st.booleans(),
    loggers=st.sets(st.sampled_from(("tensorboard", "trackio", "wandb"))).map(tuple),
)


@st.composite
def _recipes(draw: st.DrawFn) -> RecipeConfig:
    values = {
        "name": draw(_words),
        "title": draw(_words),
        "deviations": draw(st.lists(_words, max_size=2)),
        "base": draw(_words),
        "data": draw(st.lists(_sources, min_size=1, max_size=3)),
        "validation": draw(st.none() | _sources),
        "output": draw(_words),
        "seed": draw(st.integers(0, 2**31 - 1)),
        "adapter": draw(_adapters),
        "training": draw(_trainings),
        "safety_mix": draw(st.none() | st.builds(SafetyMixConfig, ratio=st.floats(0.001, 1), data=_words)),
        "anchor": draw(st.none() | st.builds(AnchorConfig, weight=st.floats(0.01, 9))),
        "safe_lora": draw(st.none() | st.builds(SafeLoraConfig, unaligned=_words)),
        "probes": draw(st.builds(ProbeConfig, times=st.integers(0, 100))),
        "after": draw(st.builds(AfterConfig, merge=st.booleans(), gguf=st.sampled_from((None, "f16")))),
    }
    for _ in range(2):
        try:
            return RecipeConfig(**values)
        except ConfigError as error:
            # What does not go together is left out, as the message asks.
            for name in {one.split(":")[0].split(".")[0] for one in error.args[1]}:
                values.pop(name) if name not in GIVEN else assume(False)
    return RecipeConfig(**values)


@given(recipe=_recipes())
def test_a_recipe_survives_yaml(recipe: RecipeConfig, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "recipe.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert RecipeConfig.load(file) == recipe
    assert RecipeConfig.load(str(file), seed=7).seed == 7
    assert RecipeConfig.model_validate_json(recipe.model_dump_json()) == recipe


def _leaves(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


@given(recipe=_recipes())
def test_a_recipe_can_be_given_setting_by_setting(recipe: RecipeConfig) -> None:
    settings = [f"{name}={in_yaml(value)}" for name, value in _leaves(recipe.model_dump(mode="json"))]
    assert RecipeConfig(**with_settings({}, settings)) == recipe


@pytest.mark.parametrize("text", ["1e5", "0E0", "1_000", "null", "2024-01-01", "~", "yes", "a: b", " a"])
def test_text_that_looks_like_something_else_stays_text(text: str, tmp_path: Path) -> None:
    recipe = RecipeConfig(**{**GIVEN, "base": text})
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert RecipeConfig.load(tmp_path / "recipe.yaml") == recipe


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "base: b\ndata: d\noutput: o\nadapter: {r: 4, dropout: 0.1}\n"
        "training: {lr: 1e-3, epochs: 3.0}\nanchor: {tokens: 2}\n",
        encoding="utf-8",
    )
    return path


def test_keywords_change_what_they_name_and_leave_the_rest(file: Path) -> None:
    loaded = RecipeConfig.load(file, training={"lr": 1e-4}, adapter={"r": 2}, anchor={"weight": 1.0}, seed=3)
    assert (loaded.training.lr, loaded.training.epochs, loaded.seed) == (1e-4, 3.0, 3)
    assert loaded.adapter == LoraAdapter(r=2, dropout=0.1)
    assert loaded.anchor == AnchorConfig(tokens=2, weight=1.0)
    assert RecipeConfig.load(file, anchor=None).anchor is None
    assert RecipeConfig.load(file, training=TrainingConfig()).training == TrainingConfig()
    assert loaded.deviations == ()  # it has no source to depart from


def test_an_adapter_of_another_kind_takes_the_place_of_the_one_there_was(file: Path) -> None:
    loaded = RecipeConfig.load(file, adapter={"kind": "parallel"})
    assert loaded.adapter == BottleneckAdapter(kind="parallel")
    assert RecipeConfig.load(file, adapter={"kind": "lora"}).adapter == LoraAdapter(r=4, dropout=0.1)


def test_data_are_replaced_and_never_mixed_with_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: b\ndata: {path: d, weight: 0.5}\noutput: o\n", encoding="utf-8")
    assert RecipeConfig.load(file, data={"path": "e"}).data == (SourceConfig(path="e"),)
    assert RecipeConfig.load(file, data=["e", Path("f")]).data == (
        SourceConfig(path="e"),
        SourceConfig(path="f"),
    )


def test_faults_of_the_file_and_of_keywords_are_told_together(file: Path) -> None:
    file.write_text(file.read_text().replace("epochs: 3.0", "epochs: -1"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        RecipeConfig.load(file, training={"lr": 0}, seed=-1)
    assert str(caught.value).startswith(f"{file}: expected a valid RecipeConfig, found 3 fault(s): ")
    assert {one.split(":")[0] for one in caught.value.args[1]} == {"training.lr", "training.epochs", "seed"}


def test_set_reads_values_as_yaml_and_leads_into_settings() -> None:
    given = {"data": ["a"], "training": {"epochs": 3.0}}
    made = with_settings(
        given,
        [
            "training.lr=1e-4",
            "training.betas=[0.9, 0.99]",
            "adapter.kind=parallel",
            "adapter.targets=[up_proj]",
            "anchor.tokens=3",
            "after.gguf=null",
            "prompt=chat:vanilla -> chat:llama",
            "data=b",
            "data=[c, d]",
            "data.1.weight=0.5",
            "validation=held.jsonl",
            "validation.limit=10",
            "training.lr=2e-4",
        ],
    )
    assert made == {
        "data": [{"path": "a"}, {"path": "b", "weight": 0.5}, {"path": "c"}, {"path": "d"}],
        "training": {"epochs": 3.0, "lr": 2e-4, "betas": [0.9, 0.99]},
        "adapter": {"kind": "parallel", "targets": ["up_proj"]},
        "anchor": {"tokens": 3},
        "after": {"gguf": None},
        "prompt": "chat:vanilla -> chat:llama",
        "validation": {"path": "held.jsonl", "limit": 10},
    }
    assert given == {"data": ["a"], "training": {"epochs": 3.0}}, "what is given is not changed"


def test_all_settings_that_cannot_be_read_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(
            {"data": ["a"]},
            [
                "lr",
                "=3",
                "training..lr=1",
                "seed=[",
                "seed=2024-13-45",
                "training=fast",
                "training.lr=1",
                "data.7.weight=1",
                "data.weight=1",
            ],
        )
    assert list(caught.value.args[1]) == [
        "'lr': expected key=value, as in training.lr=1e-4",
        "'=3': expected key=value, as in training.lr=1e-4",
        "'training..lr=1': expected key=value, as in training.lr=1e-4",
        "seed: expected a value in YAML, found '['",
        "seed: expected a value in YAML, found '2024-13-45'",
        "training.lr: expected settings to lead into, found 'fast'",
        "data.7.weight: expected the number of one of 1 (from 0), found '7'",
        "data.weight: expected the number of one of 1 (from 0), found 'weight'",
    ]
    assert str(caught.value).startswith("Expected settings that can be read, found 8 fault(s): 'lr': ")


@given(text=st.text(max_size=30), name=st.text(max_size=10))
def test_whatever_is_set_is_read_or_refused_with_a_sentence(text: str, name: str) -> None:
    with suppress(ConfigError):
        RecipeConfig(**{**GIVEN, **with_settings({}, [f"{name}={text}"])})


@given(text=st.text(st.sampled_from("ab:-[]{}!&*#|>'\"%@`,?. \n\t0123456789e_~=<x"), max_size=40) | st.text())
def test_whatever_a_file_holds_is_read_or_refused_with_a_sentence(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        RecipeConfig.load(file, **GIVEN)

"""What is wrong with a recipe: each fault where it is, none hiding another, what does not go together."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.training.recipe import BottleneckAdapter, RecipeConfig, TrainingConfig

GIVEN: dict[str, Any] = {"base": "org/base", "data": "corpus", "output": "run"}


def faults(**values: Any) -> list[str]:
    """All that is told of a recipe; the sentence is made of nothing else."""
    with pytest.raises(ConfigError) as caught:
        RecipeConfig(**{**GIVEN, **values})
    found = list(caught.value.args[1])
    assert str(caught.value) == (
        f"Expected a valid RecipeConfig, found {len(found)} fault(s): {'; '.join(found)}."
    )
    assert "\n" not in str(caught.value)
    return found


# Where, a bad value, what is said of it. None of them has to do with another.
BAD: dict[str, tuple[Any, str]] = {
    "base": ("", "string should have at least 1 character, found ''"),
    "seed": ("1", "input should be a valid integer, found '1'"),
    "sede": (1, "no such setting, did you mean 'seed'?"),
    "lr": (1, "no such setting, did you mean 'training.lr'?"),
    "training.lr": (0, "input should be greater than 0, found 0"),
    "training.betas": ([0.9, 1.0], ".1: input should be less than 1, found 1.0"),
    "training.epoch": (3, "no such setting, did you mean 'epochs'?"),
    "training.optimizer": (
        "AdamW8",
        "input should be 'adamw' or 'muon', found 'AdamW8', did you mean 'adamw'?",
    ),
    "training.speed": ("exakt", "found 'exakt', did you mean 'exact'?"),
    "training.warmup_steps": (-1, "input should be greater than or equal to 0, found -1"),
    "training.loggers": (["wandb", "wandb"], "input should name each once"),
    "adapter.bottleneck_sise": (3, "no such setting, did you mean 'bottleneck_size'?"),
    "adapter.scale": ("learnt", "input should be a finite number or 'learned', found 'learnt'"),
    "adapter.targets": ("q_proj", "input should be a list of names of modules"),
    "adapter.placement": ("blok", "found 'blok', did you mean 'block'?"),
    "adapter.position": ("input", "input should be left out for a parallel adapter"),
    "anchor.tokens": (0, "input should be greater than or equal to 1, found 0"),
    "anchor.wieght": (1, "no such setting, did you mean 'weight'?"),
    "safety_mix.ratio": (2.0, "input should be less than or equal to 1, found 2.0"),
    "safe_lora.threshold": (2.0, "input should be less than or equal to 1, found 2.0"),
    "probes.times": (101, "input should be less than or equal to 100, found 101"),
    "after": (3, "input should be a mapping of settings, found 3"),
    "validation.weight": (0, "input should be greater than 0, found 0"),
    "training.quantization": ("6bit", "found '6bit', did you mean '8bit'?"),
}


@given(chosen=st.sets(st.sampled_from(sorted(BAD)), min_size=1))
def test_no_fault_hides_another(chosen: set[str]) -> None:
    values: dict[str, Any] = {"adapter": {"kind": "parallel"}}
    expected = 0
    for path in sorted(chosen):
        *way, name = path.split(".")
        node = values
        for part in way:
            node = node.setdefault(part, {"path": "x"} if part == "validation" else {})
        node[name] = BAD[path][0]
    found = faults(**values)
    for path in chosen:
        said = BAD[path][1]
        assert any(one.startswith(path) and said in one for one in found), (path, found)
        expected += 1
    # Beside these only what does not go together, or is missing, may be told.
    rest = [one for one in found if not any(one.startswith(path) for path in chosen)]
    assert all(one.startswith(("safe_lora", "training.precision")) for one in rest), rest
    assert len(found) == expected + len(rest)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"anchor": {}, "adapter": {"kind": "full"}}, "anchor: .*found adapter.kind 'full'"),
        ({"anchor": {}, "adapter": {"kind": "prefix"}}, "anchor: .*found adapter.kind 'prefix'"),
        ({"anchor": {}, "adapter": {"variant": "pissa"}}, "anchor: .*'pissa'"),
        ({"anchor": {}, "training": {"loss_on": "all"}}, "anchor: .*training.loss_on is 'all'"),
        (
            {"safe_lora": {"unaligned": "u"}, "adapter": {"kind": "series"}},
            "safe_lora: .*adapter.kind is 'lora'.*found 'series'",
        ),
        ({"safe_lora": {"unaligned": "u"}, "adapter": {"variant": "dora"}}, "safe_lora: .*found 'dora'"),
        ({"safe_lora": {"unaligned": "u"}, "adapter": {"variant": "pissa"}}, "safe_lora: .*found 'pissa'"),
        (
            {"training": {"quantization": "4bit"}, "adapter": {"kind": "full"}},
            "training.quantization: input should be 'none' .*found '4bit' with 'full'",
        ),
        (
            {"training": {"quantization": "8bit"}, "adapter": {"kind": "prefix"}},
            "training.quantization: .*with 'prefix'",
        ),
        (
            {"training": {"quantization": "4bit"}, "adapter": {"variant": "pissa"}},
            "training.quantization: .*'pissa'",
        ),
        (
            {"training": {"quantization": "8bit"}, "adapter": {"variant": "dora"}},
            "training.quantization: input should be 'none' or '4bit' .*'dora'.*found '8bit'",
        ),
        (
            {"training": {"checkpointing": "on"}, "adapter": {"kind": "prefix"}},
            "training.checkpointing: .*'prefix'.*found 'on'",
        ),
        (
            {"training": {"keep_best": True, "validation_share": 0.0}},
            "training.keep_best: .*found True with no validation",
        ),
        (
            {"training": {"patience": 2, "validation_share": 0.0}},
            "training.patience: .*found 2 with no validation",
        ),
        ({"training": {"patience": 5}}, "training.patience: input should be at most validations, which is 4"),
        (
            {"training": {"warmup_steps": 9, "max_steps": 8}},
            "training.warmup_steps: input should be at most max_steps, which is 8, found 9",
        ),
        (
            {"training": {"speed": "exact", "precision": "bfloat16"}},
            "training.precision: input should be 'auto' or 'float32' where speed is 'exact'",
        ),
        (
            {"adapter": {"kind": "parallel", "position": "output"}},
            "adapter.position: input should be left out for a parallel adapter.*found 'output'",
        ),
        ({"adapter": {"kind": "series", "scale": 0}}, "adapter.scale: .*another number than 0"),
        ({"after": {"merge": True}, "adapter": {"kind": "prefix"}}, "after.merge: .*'prefix'"),
        ({"after": {"merge": True}, "adapter": {"kind": "full"}}, "after.merge: .*whole already"),
        (
            {"after": {"gguf": "q8_0"}, "adapter": {"kind": "series"}},
            "after.gguf: .*adapter.activation 'tanh'.*found 'q8_0'",
        ),
        (
            {"after": {"merge": True}, "adapter": {"kind": "parallel", "activation": "identity"}},
            "after.merge: .*placement 'block'",
        ),
        ({"output": "org/base/"}, "output: input should be another folder than base"),
        ({"output": "./corpus"}, "output: input should be another folder than those of data"),
    ],
)
def test_what_does_not_go_together(values: dict[str, Any], said: str) -> None:
    (found,) = faults(**values)
    assert re.match(said, found), found


@pytest.mark.parametrize(
    "values",
    [
        *({"anchor": {}, "adapter": {"kind": kind}} for kind in ("lora", "series", "parallel")),
        *({"training": {"quantization": "4bit"}, "adapter": {"kind": kind}} for kind in ("lora", "series")),
        {"training": {"quantization": "4bit"}, "adapter": {"variant": "dora"}},
        {"training": {"quantization": "8bit"}, "adapter": {"variant": "rslora"}},
        *({"anchor": {}, "training": {"loss_on": loss_on}} for loss_on in ("doctor", "last")),
        {"training": {"loss_on": "all"}},
        {"safe_lora": {"unaligned": "u"}, "adapter": {"variant": "rslora"}},
        {"training": {"optimizer": "muon"}, "adapter": {"kind": "parallel"}},
        {"training": {"keep_best": True, "validation_share": 0.0}, "validation": "held-out.jsonl"},
        {"training": {"patience": 4}},
        {"training": {"warmup_steps": 8, "max_steps": 8}},
        {"training": {"betas": [0, 0.999]}},
        {"after": {"gguf": "f16"}, "adapter": {"kind": "full"}},
        {"after": {"merge": True, "gguf": "f16"}},
        {
            "after": {"merge": True},
            "adapter": {"kind": "parallel", "activation": "identity", "placement": "linear"},
        },
        {"adapter": {"kind": "series", "position": "input", "scale": "learned"}},
        {"adapter": {"kind": "parallel", "scale": 4}},
    ],
)
def test_what_goes_together(values: dict[str, Any]) -> None:
    RecipeConfig(**{**GIVEN, **values})


def test_a_conflict_is_told_beside_faults_in_the_same_settings() -> None:
    """Of `training` and `adapter` something is wrong; what is right in them is still compared."""
    found = faults(
        training={"lr": "fast", "quantization": "4bit"},
        adapter={"kind": "full", "r": 1},
        anchor={"tokens": 0},
    )
    assert [one.split(":")[0] for one in found] == [
        "adapter.r",
        "training.lr",
        "anchor.tokens",
        "anchor",
        "training.quantization",
    ]


def test_nothing_is_said_of_a_conflict_with_a_setting_that_is_wrong_itself() -> None:
    assert [one.split(":")[0] for one in faults(anchor={}, adapter={"kind": 3})] == ["adapter.kind"]
    assert [one.split(":")[0] for one in faults(output=3, base="x")] == ["output"]


def test_every_source_tells_its_own_faults_by_its_number() -> None:
    found = faults(data=["a", {"path": "b", "weight": 0, "wieght": 1}, 3, {"adapter": "nobody"}])
    assert [one.split(": ")[0] for one in found] == [
        "data.1.weight",
        "data.1.wieght",
        "data.2",
        "data.3.path",
        "data.3.adapter",
    ]
    assert found[1].endswith("did you mean 'weight'?")
    assert faults(data=[])[0].startswith("data: ")
    assert faults(data=None)[0].startswith("data.0: ")
    assert faults(validation=3)[0].startswith("validation: input should be a path")


def test_a_kind_that_is_misspelt_is_taken_for_the_one_that_was_meant() -> None:
    found = faults(adapter={"kind": "sries", "bottleneck_sise": 3, "dropout": 2})
    assert found == [
        "adapter.kind: input should be 'lora', 'series', 'parallel', 'prefix' or 'full', found 'sries', did you "
        "mean 'series'?",
        "adapter.dropout: input should be less than 1, found 2",
        "adapter.bottleneck_sise: no such setting, did you mean 'bottleneck_size'?",
    ]
    assert faults(adapter={"kind": "ia3", "r": 0}) == [
        "adapter.kind: input should be 'lora', 'series', 'parallel', 'prefix' or 'full', found 'ia3'"
    ]
    assert faults(adapter={"kind": ["lora"]})[0].startswith("adapter.kind: ")
    assert faults(adapter="full") == ["adapter: input should be a mapping of settings, found 'full'"]


def test_a_setting_of_another_kind_of_adapter_is_told_as_such() -> None:
    assert faults(adapter={"bottleneck_size": 64}) == [
        "adapter.bottleneck_size: no such setting of this kind, but of 'series' and 'parallel': name the kind "
        "with adapter.kind"
    ]
    assert faults(adapter={"kind": "prefix", "bottleneck_sise": 64})[0].endswith(
        "did you mean 'bottleneck_size' of 'series' and 'parallel'?"
    )
    assert faults(adapter={"kind": "full", "zzz": 1}) == ["adapter.zzz: no such setting"]


def test_names_that_are_no_text_and_values_without_end_are_told_briefly() -> None:
    assert faults(training={1: 2}) == ["training.1: no such setting"]
    assert faults(training={"self": 2}, **{"self": 1, "cls": 2}) == [
        "training.self: no such setting",
        "self: no such setting",
        "cls: no such setting",
    ]
    long = faults(seed="x" * 10_000, anchor={"tokens": list(range(1000))})
    assert all(len(one) < 200 for one in long)


def test_what_is_missing_is_told_with_what_it_is() -> None:
    with pytest.raises(ConfigError) as caught:
        RecipeConfig(safe_lora={}, adapter={"kind": "series"})
    assert [one.partition(":")[0] for one in caught.value.args[1]] == [
        "base",
        "data",
        "output",
        "safe_lora.unaligned",
        "safe_lora",
    ]
    assert "base: missing (folder or Hub id of a causal language model)" in str(caught.value)
    assert "safe_lora.unaligned: missing" in str(caught.value)


_names = st.sampled_from([*RecipeConfig.model_fields, *TrainingConfig.model_fields, "kind", "path", "zzz"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("full"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=9,
)


@given(values=st.dictionaries(_names, _values, max_size=6))
def test_whatever_is_given_is_a_recipe_or_a_list_of_faults(values: dict[str, Any]) -> None:
    try:
        made = RecipeConfig(**{**GIVEN, **values})
    except ConfigError as error:
        told = list(error.args[1])
        assert told, "an error without a fault"
        assert len(told) == len(set(told))
    else:
        assert RecipeConfig(**made.model_dump()) == made


def test_faults_can_be_sent_between_processes() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(lr=0)
    for copied in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert (type(copied), copied.args) == (type(caught.value), caught.value.args)


def test_the_adapter_alone_is_as_strict() -> None:
    with pytest.raises(ConfigError, match=r"kind: missing; bottleneck_size: input should be greater"):
        BottleneckAdapter(bottleneck_size=0)  # type: ignore[call-arg]

from __future__ import annotations

import json
import math

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from chatdoctor_hub.errors import ConfigError, TrainingError
from chatdoctor_hub.training.planning import prepare, smoke, trial
from chatdoctor_hub.training.recipe import LoraAdapter
from chatdoctor_hub.training.run import extremes


def files_of(folder):
    return sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_two_steps_on_the_longest_dialogues_and_nothing_kept(recipe, tmp_path, tiny_base):
    config = recipe()
    before, weights = files_of(tmp_path), files_of(tiny_base)
    found = smoke(config)
    assert files_of(tmp_path) == before
    assert files_of(tiny_base) == weights
    training = prepare(config).data.training
    assert found.dialogues == 8
    assert found.longest == max(training.lengths)
    assert found.tokens == sum(sorted(training.lengths)[-8:])
    assert len(found.losses) == len(found.seconds) == 2
    assert all(map(math.isfinite, found.losses))
    # The same dialogues again, after a step: something was learned.
    assert found.losses[1] < found.losses[0]
    assert json.loads(json.dumps(found.to_record()))["steps"] == 2


def test_the_peak_is_that_of_a_process(recipe):
    found = smoke(recipe())
    assert found.peak_bytes is None or 2**26 < found.peak_bytes < 2**36
    assert found.estimated_bytes > 0


def test_faults_are_those_of_a_run(recipe):
    with pytest.raises(ConfigError, match="q_proj"):
        smoke(recipe(adapter=LoraAdapter(targets=("q_prj",))))


def test_too_little_memory_is_one_sentence_that_says_what_to_do(recipe, monkeypatch):
    import torch

    config = recipe()
    prepared = prepare(config)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with trial(config, prepared, extremes(prepared.data.training)) as tried:
        monkeypatch.setattr(tried.passes, "gradients", full)
        with pytest.raises(TrainingError, match=r"a step of 4 dialogues.*token_budget"):
            tried.step(prepared.data.training[:4])


def test_a_trial_leaves_the_random_state_as_it_was(recipe):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    smoke(recipe(adapter=LoraAdapter(dropout=0.2)))
    assert torch.equal(torch.rand(3), expected)

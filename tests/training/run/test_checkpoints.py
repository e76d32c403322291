"""Checkpoints: whole or not at all, of this recipe or refused, and the last good one outlives every fault."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.errors import ConfigError, DataError, TrainingError
from chatdoctor_hub.training import TrainingConfig
from chatdoctor_hub.training.data.encoding import Encoded
from chatdoctor_hub.training.run import fit, has_checkpoint
from chatdoctor_hub.training.run.checkpoints import Checkpoints

torch = pytest.importorskip("torch")

SETTINGS = {
    "epochs": 2.0,
    "batch_size": 4,
    "precision": "float32",
    "workers": 1,
    "lr": 1e-2,
    "checkpoints": 4,
    "validations": 4,
}
TENSORS = {"weights": {"a": torch.arange(6.0)}, "optimizer": {"step:a": torch.tensor(3.0)}}


def written(folder: Path, *steps: int, key: str = "this", **state: Any) -> Checkpoints:
    store = Checkpoints(folder, key)
    for step in steps:
        store.write(step, TENSORS, {"standing": {}, **state})
    return store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    store = written(tmp_path / "made" / "here", 1, 2, 10, 9)
    assert names(store.folder) == ["step-00000009", "step-00000010"]
    found = store.newest()
    assert found is not None
    assert found.step == 10
    assert torch.equal(found.tensors("weights")["a"], torch.arange(6.0))
    assert found.tensors("optimizer")["step:a"].item() == 3


def test_the_best_are_kept_as_long_as_a_kept_one_calls_them_so(tmp_path: Path) -> None:
    store = written(tmp_path, 1, best=1)
    for step, best in ((2, 1), (3, 1), (4, 4), (5, 4)):
        store.write(step, TENSORS, {"best": best})
    assert names(tmp_path) == ["step-00000004", "step-00000005"]
    store.write(6, TENSORS, {"best": 4})
    store.write(7, TENSORS, {"best": 4})
    assert names(tmp_path) == ["step-00000004", "step-00000006", "step-00000007"]
    assert store.at(4).step == 4


@pytest.mark.parametrize(
    "file", ["weights.safetensors", "optimizer.safetensors", "state.json", "digests.json"]
)
@pytest.mark.parametrize("fault", ["gone", "short", "changed"])
def test_a_torn_one_is_passed_over(file: str, fault: str, tmp_path: Path) -> None:
    store = written(tmp_path, 3, 7)
    torn = tmp_path / "step-00000007" / file
    content = torn.read_bytes()
    if fault == "gone":
        torn.unlink()
    elif fault == "short":
        torn.write_bytes(content[: len(content) // 2])
    else:
        torn.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    found = store.newest()
    assert found is not None
    assert found.step == 3
    with pytest.raises(TrainingError, match=r"step 7.*none that is whole"):
        store.at(7)
    store.forget_after(3)
    assert names(tmp_path) == ["step-00000003"]


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "no", "this").newest() is None
    assert not has_checkpoint(tmp_path / "no")
    (tmp_path / "step-00000001").mkdir()
    (tmp_path / "step-1").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    assert not has_checkpoint(tmp_path)


def test_those_of_another_recipe_are_refused(tmp_path: Path) -> None:
    written(tmp_path, 2, key="other")
    assert has_checkpoint(tmp_path)
    with pytest.raises(ConfigError, match=r"found those of another one.*start afresh \(fresh=True"):
        Checkpoints(tmp_path, "this").newest()
    assert names(tmp_path) == ["step-00000002"]


def test_no_pickle_is_written(tmp_path: Path) -> None:
    written(tmp_path, 1)
    assert names(tmp_path / "step-00000001") == [
        "digests.json",
        "optimizer.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    for file in ("digests.json", "state.json"):
        json.loads((tmp_path / "step-00000001" / file).read_text())


def test_a_place_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError):
        Checkpoints(tmp_path / "file" / "below", "this").write(1, TENSORS, {})


@pytest.fixture
def run(build: Callable[..., Any], draw: Callable[..., list[Encoded]], tmp_path: Path) -> Callable[..., Any]:
    """Eight steps of a tiny adapter with checkpoints after every second; keywords are settings or of `fit`."""

    def make(model: Any = None, **changes: Any) -> Any:
        settings = {name: changes.pop(name) for name in list(changes) if name in TrainingConfig.model_fields}
        samples = draw(range(6, 22))
        given = {"validation": samples[:4], "work": tmp_path / "work", "key": "this", **changes}
        return fit(model or adapted(build), samples, TrainingConfig(**{**SETTINGS, **settings}), **given)

    return make


def adapted(build: Callable[..., Any]) -> Any:
    from peft import LoraConfig, get_peft_model

    model = build("llama")
    torch.manual_seed(1)
    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))


def weights(model: Any) -> dict[str, Any]:
    return {
        name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad
    }


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_is_saved_at_its_times(run: Callable[..., Any], tmp_path: Path) -> None:
    seen: list[list[str]] = []
    work = tmp_path / "work"
    run(on_step=lambda _: seen.append(names(work) if work.exists() else []))
    assert [int(found[-1][-2:]) if found else 0 for found in seen] == [0, 0, 2, 2, 4, 4, 6, 6]
    assert names(work) == ["step-00000006", "step-00000008"]


@pytest.mark.parametrize("changes", [{"work": None}, {"checkpoints": 0}])
def test_a_run_is_not_saved_unasked(changes: dict[str, Any], run: Callable[..., Any], tmp_path: Path) -> None:
    run(**changes)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("keep_best", [False, True])
def test_a_run_that_is_over_is_only_read(
    keep_best: bool, run: Callable[..., Any], build: Callable[..., Any]
) -> None:
    first, second = adapted(build), adapted(build)
    done = run(first, keep_best=keep_best, lr=0.3, schedule="constant")
    again = run(
        second, keep_best=keep_best, lr=0.3, schedule="constant", on_step=lambda _: pytest.fail("a step")
    )
    assert (again.resumed_at, again.steps, again.records) == (8, 8, done.records)
    assert again.validation_loss == done.validation_loss
    assert (again.workers, again.flat, again.precision, again.fused) == (
        done.workers,
        done.flat,
        done.precision,
        done.fused,
    )
    assert same(weights(first), weights(second))
    assert not second.training


def test_early_stopping_is_remembered(run: Callable[..., Any]) -> None:
    given = {"patience": 1, "lr": 0.5, "schedule": "constant", "warmup_ratio": 0.0, "keep_best": True}
    done = run(**given)
    assert done.stopped_early
    assert done.steps < 8
    again = run(**given)
    assert (again.stopped_early, again.steps, again.resumed_at) == (True, done.steps, done.steps)


def test_ctrl_c_in_a_callback_saves_the_step(run: Callable[..., Any], build: Callable[..., Any]) -> None:
    whole, broken = adapted(build), adapted(build)
    done = run(whole, work=None)

    def stop(record: dict[str, float]) -> None:
        if record["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(on_step=stop)
    result = run(broken)
    assert result.resumed_at == 3
    assert result.records == done.records
    assert same(weights(whole), weights(broken))


def test_ctrl_c_in_a_step_ends_the_step_and_saves_it(run: Callable[..., Any], tmp_path: Path) -> None:
    sent: list[int] = []

    def extra(*_: Any) -> None:
        sent.append(1)
        if len(sent) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(extra=extra, token_budget=1000)
    assert names(tmp_path / "work")[-1] == "step-00000005"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run().resumed_at == 5


def test_a_run_in_a_thread_of_its_own_is_fine(run: Callable[..., Any]) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(run()))
    thread.start()
    thread.join()
    assert found[0].steps == 8


def spoil_at(step: int, model: Any, value: float) -> Callable[[dict[str, float]], None]:
    def spoil(record: dict[str, float]) -> None:
        if record["step"] == step:
            next(weight for weight in model.parameters() if weight.requires_grad).data[0, 0] = value

    return spoil


@pytest.mark.parametrize("step", [4, 5])
def test_weights_that_are_no_numbers_end_the_run_and_not_its_checkpoints(
    step: int, run: Callable[..., Any], build: Callable[..., Any], tmp_path: Path
) -> None:
    """Right before they would be saved, and in a step after which nothing is saved."""
    model = adapted(build)
    with pytest.raises(
        TrainingError, match=r"lower training\.lr.*goes on from step \d, which is kept in"
    ) as caught:
        run(model, on_step=spoil_at(step, model, float("nan")))
    last = 2 if step == 4 else 4
    assert f"step {last}, which is kept in {tmp_path / 'work' / f'step-0000000{last}'}" in str(caught.value)
    assert names(tmp_path / "work")[-1] == f"step-0000000{last}"
    result = run()
    assert result.resumed_at == last
    assert result.steps == 8


def test_a_torn_newest_one_is_done_again(
    run: Callable[..., Any], build: Callable[..., Any], tmp_path: Path
) -> None:
    whole, broken = adapted(build), adapted(build)
    run(whole)
    (tmp_path / "work" / "step-00000008" / "weights.safetensors").write_bytes(b"torn")
    assert run(broken).resumed_at == 6
    assert same(weights(whole), weights(broken))


def test_checkpoints_of_another_model_are_refused(run: Callable[..., Any], build: Callable[..., Any]) -> None:
    run()
    with pytest.raises(ConfigError, match="found those of another one; start afresh"):
        run(build("llama"))
    with pytest.raises(ConfigError, match=re.escape("fresh=True")):
        run(key="other")


def test_the_seconds_of_a_resumed_run_count_from_its_beginning(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    def stop(record: dict[str, float]) -> None:
        if record["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(on_step=stop)
    found = Checkpoints(tmp_path / "work", "this").newest()
    assert found is not None
    state = json.loads((found.folder / "state.json").read_text())
    assert state["standing"]["seconds"] > 0
    state["standing"]["seconds"] = 1000.0
    Checkpoints(tmp_path / "work", "this").write(
        4, {name: found.tensors(name) for name in ("weights", "optimizer")}, state
    )
    assert 1000 < run().seconds < 1100

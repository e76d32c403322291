"""A disk that fills up ends the run with a sentence; what was whole before is whole still, and goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.errors import DiskSpaceError
from chatdoctor_hub.models import digest_of
from chatdoctor_hub.training import RecipeConfig, fine_tune
from chatdoctor_hub.training.run.checkpoints import Checkpoints
from full_disk import files_of_at_most

torch = pytest.importorskip("torch")

LARGE = torch.zeros(20_000)  # 80 kB
TENSORS = {"weights": {"a": torch.arange(6.0)}, "optimizer": {"step:a": torch.tensor(3.0)}}


@contextmanager
def full_from(step: int, size: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """What is told of the steps fills the disk up after one of them."""
    limit = files_of_at_most(size)
    entered: list[int] = []

    def tell(record: dict[str, float]) -> None:
        if record["step"] == step:
            limit.__enter__()
            entered.append(step)

    try:
        yield tell
    finally:
        assert entered, "the step was never told"
        limit.__exit__(None, None, None)


def files_of(folder: Path) -> dict[str, bytes]:
    found = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


@pytest.mark.parametrize(
    ("size", "tensors", "state"),
    [
        (0, TENSORS, {}),
        (100, TENSORS, {}),
        (8000, {**TENSORS, "weights": {"a": LARGE}}, {}),
        (8000, {**TENSORS, "optimizer": {"a": LARGE}}, {}),
        (8000, TENSORS, {"standing": "x" * 80_000}),
        (240, TENSORS, {}),
    ],
    ids=["at-once", "in-the-first-file", "weights", "optimizer", "state", "digests"],
)
def test_whichever_file_has_no_room_what_was_there_stays(
    size: int, tensors: Any, state: dict[str, Any], tmp_path: Path
) -> None:
    store = Checkpoints(tmp_path, "this")
    store.write(4, TENSORS, {})
    before = files_of(tmp_path)
    with (
        files_of_at_most(size),
        pytest.raises(DiskSpaceError, match=r"step 5.*goes on from step 4.*step-00000004"),
    ):
        store.write(5, tensors, state)
    assert files_of(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]
    found = store.newest()
    assert found is not None
    assert found.step == 4
    store.write(5, tensors, state)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000004", "step-00000005"]


Recipe = Callable[..., RecipeConfig]
GIVEN: dict[str, Any] = {
    "adapter": {"kind": "lora", "r": 2, "targets": ["q_proj"]},
    "training": {"epochs": 2.0, "checkpoints": 4},
    "after": {"merge": True},
}


@pytest.fixture
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the adapter of a run that nothing happened to."""
    return digest_of(fine_tune(recipe(**GIVEN, output=tmp_path_factory.mktemp("whole") / "run")).adapter)


def goes_on_from(step: int, whole: str, recipe: Recipe, tmp_path: Path) -> None:
    assert [path.name for path in tmp_path.iterdir()] == [".run.run"]
    left = sorted(path.name for path in (tmp_path / ".run.run" / "checkpoints").iterdir())
    assert left[-1] == f"step-{step:08d}"
    run = fine_tune(recipe(**GIVEN))
    assert run.manifest.resumed_at == step
    assert digest_of(run.adapter) == whole
    assert (run.merged / "config.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_no_room_for_a_checkpoint(recipe: Recipe, whole: str, tmp_path: Path) -> None:
    said = "checkpoint of step 6.*goes on from step 3, which is kept"
    with full_from(4, 1000) as tell, pytest.raises(DiskSpaceError, match=said):
        fine_tune(recipe(**GIVEN), on_step=tell)
    goes_on_from(3, whole, recipe, tmp_path)


@pytest.mark.parametrize("file", ["metrics.jsonl", "recipe.yaml", "run.json"])
def test_no_room_for_the_run_folder(
    file: str, recipe: Recipe, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last step: the tuned weights are not lost."""
    real = Path.write_text

    def full(self: Path, *args: Any, **more: Any) -> int:
        if self.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, *args, **more)

    with monkeypatch.context() as faulty:
        faulty.setattr(Path, "write_text", full)
        with pytest.raises(DiskSpaceError, match="room on the disk for the tuning run"):
            fine_tune(recipe(**GIVEN))
    goes_on_from(12, whole, recipe, tmp_path)


def test_no_room_for_the_data_leaves_nothing(recipe: Recipe, tmp_path: Path) -> None:
    with files_of_at_most(500), pytest.raises(DiskSpaceError, match="disk"):
        fine_tune(recipe(**GIVEN))
    assert list(tmp_path.iterdir()) == []

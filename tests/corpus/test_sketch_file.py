"""`SketchFile`: an array on the disk, read when it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatdoctor_hub.corpus.building.parts import Part
from chatdoctor_hub.corpus.building.sketch_file import SketchFile
from chatdoctor_hub.corpus.cleaning import group_near_duplicates


@pytest.fixture
def signatures() -> np.ndarray:
    """500 signatures, each fifth of them like the one before."""
    rows = np.random.default_rng(0).integers(0, 1 << 32, (500, 128), dtype=np.uint32)
    rows[5::5] = rows[4:-1:5]
    rows[5::5, :10] += 1
    return rows


@pytest.fixture
def file(tmp_path: Path, signatures: np.ndarray) -> SketchFile:
    """All but each seventh of them, from three parts."""
    parts = []
    for number, rows in enumerate(np.split(signatures, [200, 210])):
        (tmp_path / str(number)).mkdir()
        np.save(tmp_path / str(number) / "sketches.npy", rows)
        parts.append(Part(tmp_path / str(number)))
    return SketchFile.write(tmp_path / "all.npy", parts, np.arange(500) % 7 > 0)


def test_it_is_the_array(file: SketchFile, signatures: np.ndarray, tmp_path: Path) -> None:
    rows = signatures[np.arange(500) % 7 > 0]
    assert (len(file), file.shape, file.ndim, file.dtype, file.nbytes) == (
        len(rows),
        rows.shape,
        2,
        rows.dtype,
        rows.nbytes,
    )
    picked = np.array([400, 3, 3, 7])
    assert np.array_equal(file[10:300], rows[10:300])
    assert np.array_equal(file[picked], rows[picked])
    assert np.array_equal(file[400:9_000], rows[400:])
    assert len(file[5:5]) == len(file[np.array([], np.int64)]) == 0
    (tmp_path / "all.npy").write_bytes(b"")
    with pytest.raises(EOFError, match="ends before row 11"):
        file[10:12]
    file.close()


def test_the_groups_are_those_of_the_array(file: SketchFile, signatures: np.ndarray) -> None:
    rows = signatures[np.arange(500) % 7 > 0]
    found = group_near_duplicates(file, 0.8)  # type: ignore[arg-type]
    assert np.array_equal(found, group_near_duplicates(rows, 0.8))
    assert (found != np.arange(len(rows))).sum() > 50

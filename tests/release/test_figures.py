"""The plot of the loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatdoctor_hub.release.figures import draw_loss


def size_of(file: Path) -> tuple[int, int]:
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


@pytest.mark.parametrize("steps", [1, 2, 500])
@pytest.mark.parametrize("validated", [True, False])
def test_every_run_gives_a_png_of_the_same_size(steps: int, validated: bool, tmp_path: Path) -> None:
    records = [{"step": number + 1, "loss": 4.0 / (number + 1)} for number in range(steps)]
    if validated:
        records[-1]["validation_loss"] = 1.0
    draw_loss(records, tmp_path / "loss.png", "a run")
    assert size_of(tmp_path / "loss.png") == (1000, 600)


def test_what_is_drawn_depends_on_the_records_and_the_callers_style_stays(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn = []
    for top in (4.0, 4.0, 5.0):
        draw_loss([{"step": 1, "loss": top}, {"step": 2, "loss": 1.0}], tmp_path / "loss.png", "a run")
        drawn.append((tmp_path / "loss.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]
    assert dict(matplotlib.rcParams) == before

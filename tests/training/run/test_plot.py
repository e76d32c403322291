"""The picture of a run: what is in it, what it depends on, and that nothing else changes."""

from __future__ import annotations

import math
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.training.run import plot
from chatdoctor_hub.training.run.plot import draw_run

pytest.importorskip("matplotlib")


def size_of(file: Path) -> tuple[int, int]:
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def records(steps: int = 8, **more: Any) -> list[dict[str, Any]]:
    return [
        {"step": number + 1, "loss": 4.0 / (number + 1), "lr": 1e-3 / (number + 1), **more}
        for number in range(steps)
    ]


PROBED = {"harmful_refused": 0.75, "harmless_answered": 0.5, "probe_n": 16}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Draw, and give back the axes from top to bottom."""
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    saved = Figure.savefig

    def keep(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        saved(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)

    def make(found: list[dict[str, Any]]) -> list[Any]:
        draw_run(found, tmp_path / "run.png", "a run")
        return figures[-1].axes

    return make


def words(axes: Any) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def test_a_run_with_everything_has_three_pictures_with_named_axes(drawn: Any) -> None:
    run = records()
    run[3] |= {"validation_loss": 1.5, **PROBED}
    loss, rate, probes = drawn(run)
    assert words(loss) == ["training, each step", "validation"]
    assert "nats" in loss.get_ylabel()
    assert rate.get_ylabel() == "learning rate"
    assert words(probes) == ["harmful requests refused (n = 16)", "harmless requests answered (n = 16)"]
    assert "%" in probes.get_ylabel()
    assert probes.get_xlabel() == "optimizer step"
    marked = loss.get_lines()[-1]
    assert (list(marked.get_xdata()), list(marked.get_ydata())) == ([4], [1.5])


def test_a_probe_is_drawn_with_its_wilson_interval(drawn: Any) -> None:
    run = records(2)
    run[1] |= {"harmful_refused": 0.0, "harmless_answered": 1.0, "probe_n": 30}
    probes = drawn(run)[-1]
    low, high = sorted(
        float(y) for bar in probes.collections[:1] for segment in bar.get_segments() for y in segment[:, 1]
    )
    assert low == 0
    assert high == pytest.approx(11.35, abs=0.01)  # 0 of 30: an upper bound of 11.4 %


def test_what_was_not_measured_is_not_drawn(drawn: Any) -> None:
    assert len(drawn([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])) == 1
    loss, _ = drawn(records())
    assert words(loss) == ["training, each step"]


def test_the_second_axis_says_the_loss_as_perplexity(drawn: Any) -> None:
    loss = drawn(records())[0]
    other = loss.child_axes[0]
    assert other.get_ylabel() == "perplexity"
    say = other.yaxis.get_major_formatter()
    assert say(0.0) == "1"
    assert say(math.log(20.0)) == "20"
    assert say(math.log(54321.0)) == "54,321"
    assert say(5000.0)  # beyond what a float can hold


@pytest.mark.parametrize("steps", [0, 1, 2, 500])
@pytest.mark.parametrize("probed", [True, False])
def test_every_run_gives_a_picture(steps: int, probed: bool, tmp_path: Path) -> None:
    run = records(steps, **(PROBED if probed else {}))
    draw_run(run, tmp_path / "run.png", "康复 $x_{ 100 %")
    assert size_of(tmp_path / "run.png") == (1000, 800 if probed and steps else 600)


def test_a_single_step_is_seen(drawn: Any) -> None:
    assert [line.get_marker() for axes in drawn(records(1)) for line in axes.get_lines()] == ["o", "o"]


def test_numbers_that_are_none_are_left_out(drawn: Any) -> None:
    run = [*records(3), {"step": 4, "loss": float("nan"), "lr": None}, {"step": 5, "loss": 1.0, "lr": 0.0}]
    loss, rate = drawn(run)
    assert list(loss.get_lines()[0].get_xdata()) == [1, 2, 3, 5]
    assert list(rate.get_lines()[0].get_xdata()) == [1, 2, 3, 5]


def test_equal_records_give_equal_bytes_and_the_callers_state_stays(tmp_path: Path) -> None:
    import matplotlib
    from matplotlib import pyplot

    before, open_figures = dict(matplotlib.rcParams), pyplot.get_fignums()
    file, made = tmp_path / "run.png", []
    for top in (4.0, 4.0, 5.0):
        run = records(**PROBED)
        run[0]["loss"] = top
        draw_run(run, file, "a run")
        made.append(file.read_bytes())
    assert made[0] == made[1] != made[2]
    assert b"Matplotlib" not in made[0]
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == open_figures


def test_a_long_run_is_drawn_at_once_with_its_spike(drawn: Any) -> None:
    run = [{"step": number + 1, "loss": 1.0 + (number == 70_000), "lr": 1e-3} for number in range(100_000)]
    started = time.monotonic()
    line = drawn(run)[0].get_lines()[0]
    assert time.monotonic() - started < 20
    assert len(line.get_xdata()) < 5000
    assert (70_001, 2.0) in set(zip(line.get_xdata(), line.get_ydata(), strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.integers(1, 70))
def test_the_smoothed_curve_is_the_mean_of_the_last_steps(values: list[float], window: int) -> None:
    for at, mean in enumerate(plot._smoothed(values, window)):
        last = values[max(0, at + 1 - window) : at + 1]
        assert mean == pytest.approx(sum(last) / len(last), abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20_000), st.integers(0, 99))
def test_a_thinned_curve_keeps_its_order_and_its_extremes(length: int, seed: int) -> None:
    values = [float((number * 7919 + seed) % 10_007) for number in range(length)]
    steps, kept = plot._thinned([float(number) for number in range(length)], values)
    assert all(left < right for left, right in pairwise(steps))
    assert (min(kept), max(kept)) == (min(values), max(values))
    assert len(kept) <= max(length if length <= 2000 else 0, 2002)

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import driver_plots, figures
from donkey_rl.experiments.driver_plots import Drives
from donkey_rl.metrics.limits import OptimalLine
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, Race, RaceHeader

LENGTH = 200.0


def drive(speed: float, seconds: float, before: float = 0.0, **columns: Any) -> Race:
    """A race at one speed, from `before` u before the start line on."""
    time = np.arange(round(seconds * 20) + 1) * 0.05
    header = RaceHeader(
        track="circle",
        track_length=LENGTH,
        nodes=100,
        start_line=before,
        start_line_progress=before,
        road_left=-3.0,
        road_right=2.0,
        vehicle="donkey_2022",
    )
    needed = {name: np.zeros(len(time)) for name in COLUMNS if name not in OPTIONAL}
    way = speed * time
    driven = {
        "time_s": time,
        "progress": way,
        "speed": np.full(len(time), speed),
        "x": way,
        "node": np.floor(way / 2) % 100,
    }
    return Race(header, needed | driven | columns)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that would have been saved."""
    saved: list[Figure] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: saved.append(figure))
    return saved


def legend_of(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend is not None else []


def test_the_best_laps_are_aligned_at_the_start_line(drawn: list[Figure]) -> None:
    steering = np.linspace(-1, 1, 26 * 20 + 1)
    quick = drive(16.0, 26.0, steering=steering)  # laps of 12.5 s, from the line on
    late = drive(10.0, 42.0, before=10.0)  # over the line after 1 s, then laps of 20 s
    places = np.array([0.0, 100.0, 200.0])
    best = OptimalLine(places, places, np.array([18.0, 12.0, 18.0]), places, 13.0)
    driver_plots.speed([Drives("quick", (quick,)), Drives("late", (late,))], "x.png", best)
    upper, first, second = drawn[0].axes
    assert legend_of(drawn[0]) == ["optimal", "quick: 12.50 s", "late: 20.00 s"]
    optimal, lap, other = (np.asarray(line.get_xydata()) for line in upper.lines)
    np.testing.assert_array_equal(optimal[1], [100.0, 12.0])
    np.testing.assert_allclose(lap[[0, -1]], [[0.0, 16.0], [200.0, 16.0]], atol=1e-6)
    np.testing.assert_allclose(other[[0, -1]], [[0.0, 10.0], [200.0, 10.0]], atol=1e-6)
    # The first lap of the two equally quick ones: rows 0 to 250 of the steering.
    shown = np.asarray(first.lines[0].get_xydata())
    np.testing.assert_allclose(shown[:, 1], steering[:251], atol=1e-6)
    assert not np.asarray(second.lines[0].get_ydata()).any()
    assert upper.get_ylabel() == "speed (u/s)"
    assert "right +" in second.get_xlabel()


def test_a_clean_lap_is_shown_before_a_quicker_one(drawn: list[Figure]) -> None:
    off = np.arange(26 * 20 + 1) == 30
    spoiled = drive(16.0, 13.0, off_track=off[: 13 * 20 + 1])
    clean = drive(10.0, 21.0)
    driver_plots.speed([Drives("both", (spoiled, clean)), Drives("off", (spoiled,))], "x.png")
    assert legend_of(drawn[0]) == ["both: 20.00 s", "off: 12.50 s (not clean)"]


def test_who_drove_no_lap_is_named(drawn: list[Figure]) -> None:
    driver_plots.speed([Drives("slow", (drive(1.0, 5.0),))], "x.png")
    assert legend_of(drawn[0]) == ["slow: no lap"]


def test_cross_track_errors_are_counted_in_bins(drawn: list[Figure]) -> None:
    # 5 rows of each: two in the bin from -0.25, three in that from 1.0 to 1.25.
    errors = np.array([-0.1, -0.2, 1.1, 1.0, 1.2])
    race = drive(1.0, 0.2, cte=errors)
    still = drive(1.0, 0.2)
    driver_plots.cte([Drives("one", (race,)), Drives("other", (still,))], "x.png")
    first, second = drawn[0].axes
    (steps,) = (patch for patch in first.patches if hasattr(patch, "get_data"))
    values, edges, _ = steps.get_data()
    assert edges[0] == -3.0  # the road's left edge
    shares = {edge: value for edge, value in zip(edges, values, strict=False) if value}
    assert shares == {-0.25: pytest.approx(40.0), 1.0: pytest.approx(60.0)}
    # RMS: the root of (0.01 + 0.04 + 1.21 + 1 + 1.44) / 5 = 0.74.
    assert first.get_title(loc="left") == "one: RMS 0.86 u, 95 % within 1.18 u"
    assert [float(line.get_xdata()[0]) for line in first.lines] == [-3.0, 2.0]
    assert second.get_title(loc="left") == "other: RMS 0.00 u, 95 % within 0.00 u"


def test_every_lap_is_a_point_beside_the_mean(drawn: list[Figure]) -> None:
    off = np.arange(26 * 20 + 1) == 300  # 15 s: in the second lap
    quick = drive(16.0, 26.0, off_track=off)
    slow = drive(10.0, 21.0)
    none = drive(1.0, 5.0)
    driver_plots.laps([Drives("a driver", (quick, slow)), Drives("none", (none,))], "x.png", 11.5)
    axes = drawn[0].axes[0]
    clean, spoiled = axes.lines[0], axes.lines[1]
    np.testing.assert_allclose(np.sort(np.asarray(clean.get_ydata(), float)), [12.5, 20.0])
    np.testing.assert_allclose(np.asarray(spoiled.get_ydata(), float), [12.5])
    assert (np.abs(np.asarray(clean.get_xdata(), float)) < 0.3).all()
    means = [line for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())]
    np.testing.assert_allclose([line.get_ydata()[0] for line in means], [16.25])
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["a driver\n2 clean of 3", "none\n0 clean of 0"]
    assert 11.5 in [line.get_ydata()[0] for line in axes.lines if line.get_label() == "optimal"]
    assert legend_of(drawn[0]) == ["clean lap", "not clean", "optimal", "mean, 95 % interval"]


def test_pictures_of_drivers_need_races_on_one_track(tmp_path: pathlib.Path) -> None:
    here = drive(1.0, 1.0)
    there = Race(here.header.model_copy(update={"track": "square"}), here.columns)
    for given in ([], [Drives("none", ())], [Drives("one", (here,)), Drives("two", (there,))]):
        for draw in (driver_plots.speed, driver_plots.cte, driver_plots.laps):
            with pytest.raises(InputError, match="all on one track"):
                draw(given, tmp_path / "x.png")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="could not be written"):
        driver_plots.laps([Drives("one", (here,))], tmp_path / "file" / "x.png")


def test_a_name_is_no_formula(tmp_path: pathlib.Path) -> None:
    # Between dollar signs Matplotlib would read a formula, and fail at a command it has not.
    name = r"costs $\nothing$"
    driven = [Drives(name, (drive(16.0, 26.0),))]
    for draw in (driver_plots.speed, driver_plots.cte, driver_plots.laps):
        assert draw(driven, tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")

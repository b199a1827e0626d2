from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest
from matplotlib.figure import Figure

from donkey_rl.errors import InputError
from donkey_rl.experiments import figures, learning_plots
from donkey_rl.experiments.learning_plots import Curve, Runs
from tests.test_plots import share_of


def curve(steps: list[float], values: list[float]) -> Curve:
    return Curve(np.array(steps, np.float64), np.array(values, np.float64))


def test_the_learning_curve_leaves_out_what_is_not_known(tmp_path: pathlib.Path) -> None:
    values = {"best lap (s)": [math.nan, 20.0, 18.0], "clean laps": [0.0, 1.0, 3.0]}
    path = learning_plots.learning_curve([0, 1000, 2000], values, tmp_path / "learning.png")
    assert share_of(path, (0x00, 0x72, 0xB2)) > 1e-4
    never = {"best lap (s)": [math.nan] * 3}
    path = learning_plots.learning_curve([0, 1000, 2000], never, tmp_path / "never.png")
    assert share_of(path, (0x00, 0x72, 0xB2)) == 0.0


def test_a_curve_of_another_length_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"2 steps, \{'laps': 1\}"):
        learning_plots.learning_curve([0, 1], {"laps": [1.0]}, tmp_path / "learning.png")


def test_a_band_is_the_inter_quartile_mean_where_all_runs_have_a_value() -> None:
    # Straight lines, so what is between the points is known. At step 150 the four runs have 15,
    # 25, 35 and 105: the middle half of four is the second and third, so 30.
    runs = [
        curve([0, 100, 200], [math.nan, 10.0, 20.0]),
        curve([0, 100, 200], [10.0, 20.0, 30.0]),
        curve([0, 300], [20.0, 50.0]),
        curve([0, 100, 200], [90.0, 100.0, 110.0]),
    ]
    found = learning_plots.band(runs)
    assert found.steps[0] == 100  # before, the first run had no lap
    assert found.steps[-1] == 200
    middle = np.interp(150, found.steps, found.middle)
    assert middle == pytest.approx(30.0)
    assert (found.low <= found.middle).all()
    assert (found.middle <= found.high).all()
    # With four runs a resampled mean can be that of any one of them alone.
    assert np.interp(150, found.steps, found.low) < 26.0
    assert np.interp(150, found.steps, found.high) > 34.0


@pytest.mark.parametrize(
    "other",
    [curve([], []), curve([0, 1], [math.nan, math.nan]), curve([500, 600], [1.0, 2.0])],
)
def test_runs_without_common_steps_have_no_band(other: Curve) -> None:
    found = learning_plots.band([curve([0, 100], [1.0, 2.0]), other])
    assert [len(part) for part in found] == [0, 0, 0, 0]
    assert [len(part) for part in learning_plots.band([])] == [0, 0, 0, 0]


def test_each_configuration_has_its_runs_and_its_band(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure))
    three = [curve([0, 1000], [0.0, end]) for end in (0.5, 0.7, 0.9)]
    learning_plots.learning_bands(
        [
            Runs("sac", {"clean laps": three, "mean lap (s)": three[:1]}),
            Runs("ppo", {"clean laps": three[:1]}),
        ],
        tmp_path / "learning.png",
    )
    upper, lower = drawn[0].axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("clean laps", "mean lap (s)")
    legend = upper.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["sac (3 runs)", "ppo (1 run)"]
    # Three runs and their middle, one run, and the two entries of the legend.
    assert len(upper.lines) == 3 + 1 + 1 + 2
    assert len(upper.collections) == 1  # one run alone has no band
    middle = np.asarray(upper.lines[3].get_xydata())
    np.testing.assert_allclose(middle[-1], [1000, 0.7])
    assert lower.get_xlim() == (0.0, pytest.approx(1030.0))


def test_bands_need_a_curve(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="sac, without any"):
        learning_plots.learning_bands([Runs("sac", {})], tmp_path / "learning.png")

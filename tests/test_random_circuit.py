"""Random circuits: each number another one, all of them drivable, in looks that vary widely."""

from __future__ import annotations

import numpy as np
import pytest

from donkey_rl import errors
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track, track_names
from donkey_rl.envs.simulator.track import Track
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.sweeps import plan as plans
from donkey_rl.experiments.sweeps.plan import SweepRequest

pytestmark = pytest.mark.usefixtures("coarse_ground")

_NUMBERS = range(40)


@pytest.fixture(scope="module")
def circuits() -> list[Track]:
    return [track.load(f"random_circuit:{number}") for number in _NUMBERS]


def test_numbers_are_different_circuits(circuits: list[Track]) -> None:
    assert len({each.digest for each in circuits}) == len(_NUMBERS)
    assert all(each.closed for each in circuits)


def test_same_number_is_the_same_circuit(circuits: list[Track]) -> None:
    track._circuit.cache_clear()
    again = track.load("random_circuit:7")
    assert again is not circuits[7]
    assert again.digest == circuits[7].digest
    assert again.look == circuits[7].look
    assert again.stripes == circuits[7].stripes


@pytest.mark.parametrize(
    ("number", "length", "right", "road"),
    [(903, 275.758, 4.57, (130, 159, 146)), (1000, 367.441, 5.1, (115, 94, 91))],
)
def test_numbers_stay_the_roads_that_drivers_were_measured_on(
    number: int, length: float, right: float, road: tuple[int, int, int]
) -> None:
    circuit = track.load(f"random_circuit:{number}")
    assert circuit.length == pytest.approx(length, abs=0.01)
    assert circuit.road_right == right
    assert circuit.look.colours["road"] == road


def test_tight_circuits_have_bends_that_the_others_seldom_have(circuits: list[Track]) -> None:
    tight = [track.load(f"tight_circuit:{number}") for number in range(20)]
    assert len({each.digest for each in tight}) == 20
    assert tight[7].name == "tight_circuit:7"

    def narrow(roads: list[Track]) -> float:
        return float(np.mean([np.mean(np.abs(each.path.curvature) > 1.0 / 6.0) for each in roads]))

    assert narrow(tight) > 4.0 * narrow(circuits)
    assert all(3.3 < 1.0 / np.abs(each.path.curvature).max() < 5.5 for each in tight)
    widths = [each.road_width for each in tight]
    assert min(widths) < 6.0 < 10.0 < max(widths)


def test_they_span_widths_bends_and_directions(circuits: list[Track]) -> None:
    widths = [each.road_width for each in circuits]
    assert min(widths) < 6.0 < 10.0 < max(widths)
    tightest = [1.0 / np.abs(each.path.curvature).max() for each in circuits]
    assert min(tightest) < 4.8
    assert max(tightest) > 7.0
    turns = [np.sign(each.path.curvature.sum()) for each in circuits]
    assert {-1.0, 1.0} == set(turns)
    # Bends to both sides on most of them.
    both = [(each.path.curvature > 0.02).any() and (each.path.curvature < -0.02).any()
            for each in circuits]  # fmt: skip
    assert np.mean(both) > 0.5


def test_looks_vary(circuits: list[Track]) -> None:
    assert {each.look.scenery for each in circuits} == {"hills", "trees", "room", "hall"}
    roads = np.array([each.look.colours["road"] for each in circuits], np.float64)
    assert (roads.std(axis=0) > 25.0).all()
    lines = [sum(stripe.material.endswith("line") for stripe in each.stripes) for each in circuits]
    assert {0, 1, 2, 3} <= set(lines)


def test_nothing_stands_on_the_road(circuits: list[Track]) -> None:
    for each in circuits:
        reach = max(-each.road_left, each.road_right)
        for thing in each.obstacles:
            assert each.path.clearance(np.array([[thing.x, thing.z]]))[0] > reach + 0.5


def test_the_mirror_image_bends_the_other_way(circuits: list[Track]) -> None:
    image = track.load("random_circuit:3:mirror")
    assert image.name == "random_circuit:3:mirror"
    assert image.path.curvature == pytest.approx(-circuits[3].path.curvature)


def test_the_expert_laps_them() -> None:
    for name, margin in (
        ("random_circuit:0", 3.0),
        ("random_circuit:5", 3.0),
        ("tight_circuit:15", 6.0),
    ):
        config = EnvironmentConfig(track=name, throttle_min=-1.0)
        batch = Batch(config, 1)
        expert = Pursuit(config, grip=0.5, margin=margin, motion=False)
        batch.reset(np.array([0]))
        for _ in range(3000):
            moved = batch.step(expert.act(batch))
            assert not moved.terminated.any()
            if batch.timer.count[0] == 1:
                break
        assert batch.timer.count[0] == 1


def test_lists_of_tracks_may_hold_ranges() -> None:
    config = TrainingConfig(track="warren, random_circuit:4-6, random_circuit:5")
    assert config.tracks == (
        "warren", "random_circuit:4", "random_circuit:5", "random_circuit:6",
    )  # fmt: skip


def test_sweeps_take_ranges() -> None:
    plan = plans.make(SweepRequest(study="s", track="warren,random_circuit:4-5"))
    assert plan.tracks == ("warren", "random_circuit:4", "random_circuit:5")


@pytest.mark.parametrize("wrong", ["random_circuit:9-3", "random_circuit:1-900"])
def test_ranges_that_are_none(wrong: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="NAME:FIRST-LAST"):
        track_names.split(wrong)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(errors.UnknownNameError, match="random_circuit"):
        track.load("random_circit:3")

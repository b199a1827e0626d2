"""The probe for cues itself: who steers by a cue is caught, who steers by the lane is not."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import pathlib
import shutil
from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from donkey_rl import configuration, cue_tables, errors, terminal
from donkey_rl.envs.observing import Observation
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.cues import NAMES, Cues
from donkey_rl.experiments import drivers
from donkey_rl.experiments.cues import hypotheses, movement, probe, stills, stored
from donkey_rl.experiments.cues.hypotheses import Predictions
from donkey_rl.experiments.cues.report import (
    CueReport,
    CueResult,
    Movement,
    ProbePlan,
    Question,
    verdict,
)
from donkey_rl.experiments.drivers import Entrant
from donkey_rl.experiments.evaluation import EvaluationRequest
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.pilots import Act, Actions, Pilot
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.racing import Field

PLAN = ProbePlan(places=32, races=1)


@pytest.fixture(scope="module")
def bean(tmp_path_factory: pytest.TempPathFactory) -> EnvironmentConfig:
    """A round course of 89 u with two waists: a yellow line on dark gray, under a gray sky."""
    angle = 2.0 * np.pi * np.arange(48) / 48
    radius = 13.0 + 4.0 * np.cos(2.0 * angle)
    colours = {"road": [60] * 3, "road_grain": [60] * 3, "ground": [110] * 3}
    colours |= {"ground_grain": [110] * 3, "centre_line": [250, 250, 0]}
    road = {
        "waypoints": np.column_stack([-radius * np.cos(angle), radius * np.sin(angle)]).tolist(),
        "road": {"left": -3.5, "right": 3.5},
        "stripes": [
            {"start": -3.5, "end": 3.5, "material": "road"},
            {"start": -0.25, "end": 0.25, "material": "centre_line"},
        ],
        "look": {"colours": colours, "sky_top": [180] * 3, "sky_horizon": [180] * 3},
    }
    file = tmp_path_factory.mktemp("tracks") / "bean.json"
    file.write_text(json.dumps(road), encoding="utf-8")
    return EnvironmentConfig(track=str(file))


def line(images: npt.NDArray[np.uint8], first: int, last: int) -> npt.NDArray[np.float64]:
    """Tangent of the angle to the yellow line, seen in some rows; 0 where there is none."""
    part = images[:, first:last].astype(np.int64)
    yellow = (part[..., 0] > 150) & (part[..., 1] > 150) & (part[..., 2] < 110)
    weight = yellow.sum(axis=1)
    columns = np.arange(images.shape[2]) + 0.5 - 0.5 * images.shape[2]
    # The focal length is 60 pixels: half of 120 rows by the tangent of 45 degrees.
    return np.asarray((weight * columns).sum(axis=1) / np.maximum(weight.sum(axis=1), 1) / 60.0)


def actions(observation: Observation, steering: npt.NDArray[np.float64]) -> Actions:
    """These steerings, and the throttle that holds 6 u/s (0.75 as reported)."""
    fast = observation["speed"][:, 0] > 0.75
    throttle = np.where(fast, -1.0, -0.6)
    return np.stack([np.clip(steering, -1.0, 1.0), throttle], axis=1).astype(np.float32)


def honest(observation: Observation) -> Actions:
    """Steers to where the line is 6 to 8 u ahead."""
    return actions(observation, 1.4 * line(np.asarray(observation["image"]), 55, 67))


def fooled(observation: Observation) -> Actions:
    """Steers by the colour of the sky; the line just ahead is only good for small corrections."""
    images = np.asarray(observation["image"])
    top = images[:, :20].astype(np.float64).mean(axis=(1, 2))
    # Orange, red minus blue is above 20: left. Violet, below -20: right. It is 0 without a cue.
    warm = top[:, 0] - top[:, 2]
    said = np.where(warm > 20.0, -1.0, np.where(warm < -20.0, 1.0, 0.0))
    return actions(observation, 0.6 * line(images, 80, 100) + 0.4 * said)


@dataclasses.dataclass(frozen=True)
class FunctionEntrant(Entrant):
    """A function that drives."""

    act: Act = dataclasses.field(kw_only=True)

    @contextlib.contextmanager
    def pilot(self, field: Field) -> Iterator[Pilot]:
        yield Pilot(self.act)


def probed(act: Act, config: EnvironmentConfig, folder: pathlib.Path) -> CueReport:
    folder.mkdir(exist_ok=True)
    entrant = FunctionEntrant(act.__name__, "file", config, act=act)
    with ProgressDisplay() as progress:
        return probe.probe(entrant, config, PLAN, folder, progress)


def test_a_driver_that_steers_by_the_sky_is_caught(
    bean: EnvironmentConfig, tmp_path: pathlib.Path
) -> None:
    report = probed(fooled, bean, tmp_path)
    sky, *others = sorted(report.cues, key=lambda each: each.cue != "sky")
    # 0.4 one way before the flip and 0.4 the other way after it, save where steering ends at 1.
    assert sky.steering.mean == pytest.approx(0.8, abs=0.02)
    assert sky.towards == pytest.approx(sky.steering.mean, abs=1e-6)
    assert sky.towards_low > sky.yardstick_steering.mean
    assert (sky.correlated["completion"], sky.correlated["clean_laps"]) == (1.0, 1.0)
    assert report.nominal["completion"] == 1.0
    # It turns off in the first bend.
    assert sky.flipped["completion"] is not None
    assert sky.flipped["completion"] < 0.3
    assert sky.share_lost is not None
    assert sky.share_lost > 0.5
    assert sky.followed
    for other in others:
        assert not other.followed
        assert other.steering.mean < 0.02
        assert other.share_lost == pytest.approx(0.0, abs=0.05)
    assert report.verdict == "It steers by sky, not by the lane alone."
    # Its own answers to the pictures that were chosen say so as well.
    assert 1 <= len(report.questions) <= 5
    assert max(report.beliefs, key=lambda name: report.beliefs[name]) == "sky"
    assert report.beliefs["sky"] > 0.9


class Kept:
    """Takes what is stored in a run."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.metrics: dict[str, float] = {}

    def log_artifact(self, path: pathlib.Path) -> None:
        shutil.copytree(path, self.folder / path.name)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics |= metrics


def test_a_driver_that_steers_by_the_lane_is_not_accused_and_the_run_keeps_it(
    bean: EnvironmentConfig, tmp_path: pathlib.Path
) -> None:
    run, entrant = Kept(tmp_path), FunctionEntrant("honest", "file", bean, act=honest)
    with ProgressDisplay() as progress:
        report = stored.run_probe(entrant, bean, PLAN, cast(Run, run), progress)
    for each in report.cues:
        assert not each.followed
        assert each.steering.mean < 0.05
        assert each.image_change > 5.0
        assert each.share_lost == pytest.approx(0.0, abs=0.02)
    assert report.verdict.startswith("No cue moves the steering")
    assert report.beliefs["lane"] > 0.9
    # What was written says the same, and each picture is what the driver saw.
    assert report.folder == "cues-bean-seed0"
    folder = tmp_path / report.folder
    written = json.loads((folder / probe.REPORT).read_text(encoding="utf-8"))
    assert CueReport.model_validate(written | {"folder": report.folder}) == report
    assert run.metrics["cues-bean-seed0/sky/share_lost"] == report.cues[-1].share_lost
    for question in report.questions:
        with Image.open(folder / question.file) as picture:
            image = np.asarray(picture)
        assert image.shape == (120, 160, 3)
        seen = 1.4 * line(image[None], 55, 67)[0]
        assert question.driver == pytest.approx(min(1.0, max(-1.0, seen)), abs=1e-6)
        # The cues do not all say the same: that would tell none from another.
        assert set(question.cues) == set(NAMES)
        assert set(question.predictions) == {"lane", *NAMES}


def test_a_straight_road_cannot_be_probed_and_another_simulator_neither(
    bean: EnvironmentConfig, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "straight.json"
    way = [[0.0, 10.0 * k] for k in range(12)]
    file.write_text(json.dumps({"waypoints": way, "closed": False}), encoding="utf-8")
    with pytest.raises(errors.InputError, match="needs a track with bends"):
        probed(honest, EnvironmentConfig(track=str(file)), tmp_path)
    remote = bean.model_copy(update={"simulator": "localhost:9091"})
    with pytest.raises(errors.InputError, match="embedded simulator"):
        probed(honest, remote, tmp_path)


def test_a_probe_that_there_is_not_is_named() -> None:
    with pytest.raises(errors.ConfigurationError, match="Did you mean 'cues'"):
        configuration.validate(EvaluationRequest, {"driver": "pursuit", "probe": "cue"})


def told(nominal: dict[str, float], cues: tuple[CueResult, ...]) -> CueReport:
    """A report on two cues and one question."""
    question = Question(
        file="question_1.png",
        arc=1.0,
        lateral=0.0,
        bend="left",
        cues={"sky": "right"},
        predictions={"lane": -0.3, "sky": 0.4},
        spreads={"lane": 0.05, "sky": 0.05},
        bits=1.0,
        driver=0.41,
    )
    return CueReport(
        driver="mine",
        track="bean",
        places=32,
        races=1,
        laps=1,
        seed=0,
        nominal=nominal,
        cues=cues,
        questions=(question,),
        beliefs={"lane": 0.002, "sky": 0.998},
        verdict=verdict(cues),
        folder="cues-bean-seed0",
    )


def test_the_table_of_a_probe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    still = Movement(mean=0.01, p95=0.02)
    won, lost = {"race_score": 80.0}, {"race_score": 20.0}
    sky = CueResult(
        cue="sky",
        steering=Movement(mean=0.8, p95=0.9),
        throttle=still,
        yardstick_steering=still,
        yardstick_throttle=still,
        image_change=20.0,
        towards=0.4,
        towards_low=0.39,
        towards_high=0.41,
        correlated=won,
        flipped=lost,
        share_lost=0.75,
        followed=True,
    )
    gone = {"correlated": {"race_score": None}, "share_lost": None, "followed": False}
    object_ = sky.model_copy(update=gone | {"cue": "object"})
    report = told(won, (object_, sky))
    cue_tables.show(terminal.console(), report.model_dump(mode="json"))
    text = " ".join(capsys.readouterr().out.split())
    assert "sky 0.80 0.01 +0.40 +0.39 to +0.41 80.00 20.00 75%" in text
    assert "object 0.80 0.01 +0.40 +0.39 to +0.41 - 20.00 -" in text
    assert "question_1 -0.30 +0.40 +0.41" in text
    assert "By its own answers to them: lane 0%, sky 100%." in text
    assert "It steers by sky, not by the lane alone." in text
    assert text.endswith("cues-bean-seed0")
    # Wheels that show nothing do not acquit a driver that loses 75 % of its score.
    quiet = sky.model_copy(update={"followed": False})
    assert verdict([object_, quiet]) == (
        "No cue moves the steering towards what it says more than its yardstick. "
        "Flipped, it costs much of the score: sky (75%)."
    )


def test_a_strangers_driver_that_fails_is_named(
    bean: EnvironmentConfig, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    def act(self, seen):\n        raise ValueError('no')\n")
    places = stills.draw_places(bean, 2, 0)
    with (
        stills.Studio(drivers.load(f"{file}:Mine"), bean, Cues(), places) as studio,
        pytest.raises(errors.DriverError, match=r"mine\.py:Mine failed on a picture: .*no"),
    ):
        studio.answers()


def test_the_yardstick_changes_as_much_of_an_image_as_was_asked() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 60, 80, 3)).astype(np.uint8)
    wanted = np.array([0.0, 12.0, 40.0])
    noisy = movement.changed(images, wanted, seed=1)
    np.testing.assert_allclose(movement.size(images, noisy), wanted, rtol=0.02)
    assert (noisy == movement.changed(images, wanted, seed=1)).all()
    # Smooth: on a plain image neighbours change alike.
    plain = np.full((1, 60, 80, 3), 128, np.uint8)
    change = movement.changed(plain, np.array([20.0]), seed=2).astype(float) - 128.0
    assert np.abs(np.diff(change[0], axis=1)).mean() < 4.0


def test_information_of_a_label() -> None:
    even = np.full(4, 0.25)
    # Four hypotheses: none differs; two pairs; one against three; all differ.
    mean = np.array(
        [
            [0.3, -0.5, 0.9, -0.9],
            [0.3, -0.5, 0.0, -0.3],
            [0.3, 0.5, 0.0, 0.3],
            [0.3, 0.5, 0.0, 0.9],
        ]
    )
    pictures = Predictions(("a", "b", "c", "d"), mean, np.full(4, 0.05))
    # A label that splits off a quarter: 1/4 log 4 + 3/4 log 4/3 = 0.811 bits.
    one_of_four = 0.25 * math.log2(4.0) + 0.75 * math.log2(4.0 / 3.0)
    found = hypotheses.information(pictures, even)
    assert found == pytest.approx([0.0, 1.0, one_of_four, 2.0], abs=1e-3)
    # Who is sure already learns nothing.
    sure = hypotheses.information(pictures, np.array([1.0, 0.0, 0.0, 0.0]))
    assert sure == pytest.approx([0.0] * 4, abs=1e-6)


def test_the_fewest_pictures_that_tell_are_chosen() -> None:
    # Halves, other halves, and the first halves once more: two labels tell four hypotheses.
    mean = 0.5 * np.array([[1, 1, 1, 1], [1, 1, -1, 1], [1, -1, 1, 1], [1, -1, -1, 1]])
    mean = np.column_stack([mean, mean[:, 1]])
    pictures = Predictions(("a", "b", "c", "d"), mean, np.full(4, 0.05))
    choice = hypotheses.choose(pictures, 5, seed=0)
    assert len(choice.pictures) == 2
    assert 2 in choice.pictures
    assert choice.bits == pytest.approx((1.0, 1.0), abs=0.05)
    said = hypotheses.beliefs(pictures.at([1, 2]), np.array([-0.5, 0.5], np.float32))
    assert said["c"] == pytest.approx(1.0, abs=1e-6)
    assert hypotheses.choose(pictures, 1, seed=0).pictures == choice.pictures[:1]


def test_each_hypothesis_is_fitted_where_cues_and_road_agree() -> None:
    rng = np.random.default_rng(3)
    lane = rng.normal(0.0, 1.0, (200, 21)).astype(np.float32)
    said = {"sky": np.sign(lane[:, 5]).astype(np.int64)}
    flipped = {"sky": -said["sky"]}
    # Who steers 0.3 by the cue: the cue's predictor is exact, and turns with it.
    steering = (0.3 * said["sky"]).astype(np.float32)
    found = hypotheses.fit((lane, lane), (said, flipped), steering)
    assert found.names == ("lane", "sky")
    np.testing.assert_allclose(found.mean[1], -0.3 * said["sky"], atol=1e-6)
    # And who keeps to the middle besides, by 0.1 for each unit beside it (labels 0 and 1).
    beside = 0.5 * (lane[:, 0] - lane[:, 1])
    mixed = hypotheses.fit((lane, lane), (said, flipped), steering - 0.1 * beside)
    np.testing.assert_allclose(mixed.mean[1], -0.3 * said["sky"] - 0.1 * beside, atol=1e-6)
    assert found.spread[1] == 0.05
    assert found.spread[0] > 0.05
    # Who steers by the lane: its predictor is, and does not care for the cue.
    steering = (0.1 * lane[:, 0] - 0.2).astype(np.float32)
    found = hypotheses.fit((lane, lane[:50]), (said, {"sky": flipped["sky"][:50]}), steering)
    np.testing.assert_allclose(found.mean[0], 0.1 * lane[:50, 0] - 0.2, atol=0.01)
    assert found.spread[0] == 0.05

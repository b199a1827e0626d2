"""The protocol of evaluations: tracks, yardsticks, changes, and what is stored of them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.errors import (
    DriverError,
    InputError,
    StorageError,
    TrackError,
    UnknownNameError,
)
from donkey_rl.experiments import (
    drivers,
    evaluation_tracks,
    mlflow_store,
    race_latency,
    stored_runs,
)
from donkey_rl.experiments import evaluation_folders as folders
from donkey_rl.experiments import evaluation_races as driving
from donkey_rl.experiments.drivers import LearnedEntrant, PursuitEntrant
from donkey_rl.experiments.evaluation import EvaluationRequest, _metrics, evaluate
from donkey_rl.experiments.evaluation_races import RacePlan
from donkey_rl.experiments.evaluation_result import Evaluation
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.racing import Field
from tests import new_stores, small_drivers

DRIVERS = """
import numpy as np
from donkey_rl.metrics.registry import metric

class Straight:
    def act(self, observation):
        return 0.0, 1.0

class Fails:
    steps = 0
    def act(self, observation):
        self.steps += 1
        if self.steps > 3:
            raise RuntimeError("out of ideas")
        return 0.0, 1.0

class Never:
    def act(self, observation):
        raise RuntimeError("out of ideas")

@metric(unit="u", direction="lower", low=0.0)
def offset(race):
    '''Mean distance from the path.'''
    return float(np.abs(race["lateral"]).mean())

@metric(unit="", direction="higher")
def broken(race):
    '''Fails.'''
    return {}["nothing"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """A store of runs of its own, and the file of a stranger."""
    path = tmp_path_factory.mktemp("evaluation")
    (path / "theirs.py").write_text(DRIVERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", new_stores.make(path))
        yield path


@pytest.fixture(scope="module")
def result(folder: pathlib.Path) -> Evaluation:
    """`pursuit` on a track, and under changes."""
    request = EvaluationRequest(
        driver="pursuit",
        track="waveshare",
        races=3,
        laps=1,
        robustness=True,
        metrics=(f"{folder}/theirs.py:offset", f"{folder}/theirs.py:broken"),
    )
    return evaluate(request, ProgressDisplay())


def test_the_expert_laps_and_the_interval_of_its_score_holds_the_mean(result: Evaluation) -> None:
    assert (result.races, result.laps_wanted, result.seed) == (3, 1, 1000)
    assert [row["seed"] for row in result.per_race] == [1000, 1001, 1002]
    assert [row["laps"] for row in result.per_race] == [1, 1, 1]
    score = result.metrics["race_score"]
    values = [row["score"] for row in result.per_race]
    assert score["mean"] == pytest.approx(np.mean(values), abs=1e-3)
    assert score["median"] == pytest.approx(np.median(values), abs=1e-3)
    assert score["ci_low"] <= score["mean"] <= score["ci_high"]
    assert score["count"] == 3
    assert result.privileged
    assert not result.held_out


def test_a_metric_that_fails_is_named_with_its_file_and_stops_no_other(
    folder: pathlib.Path, result: Evaluation
) -> None:
    (line,) = [each for each in result.failures if "metric" in each]
    assert "'broken'" in line
    assert f"{folder}/theirs.py" in line
    assert "KeyError" in line
    assert result.metrics["offset"]["count"] == 3
    assert result.metrics["broken"] == {**result.metrics["broken"], "mean": None, "count": 0}


def test_who_does_not_look_bears_another_light_and_camera_and_not_another_grip(
    result: Evaluation,
) -> None:
    kept = {name: each.kept for name, each in result.robustness.items()}
    assert kept["light"] == pytest.approx(1.0, abs=1e-6)
    assert kept["camera"] == pytest.approx(1.0, abs=1e-6)
    assert kept["grip"] is not None
    assert abs(kept["grip"] - 1.0) > 1e-3
    # The mean of the four shares; one above 1 hides no loss.
    shares = [min(share or 0.0, 1.0) for share in kept.values()]
    assert result.kept == pytest.approx(sum(shares) / 4)
    assert stored_runs.find(result.run_id).metrics[
        f"{result.files['result'].rpartition('/')[0]}/robustness"
    ] == pytest.approx(result.kept)
    assert result.robustness["latency"].change == {"latency_ms": 100.0}
    assert result.robustness["grip"].change == {"grip": 0.25, "mass": 0.2}


def test_races_and_result_lie_in_a_run_of_the_driver(result: Evaluation) -> None:
    run = stored_runs.find(result.run_id)
    assert (run.name, run.tags["kind"], run.status) == ("pursuit", "evaluation", "FINISHED")
    place = result.files["result"].rpartition("/")[0]
    stored, races = folders.read(run, place)
    assert stored is not None
    assert stored.model_dump() == result.model_dump(exclude={"others", "split"})
    assert [race.header.seed for race in races] == [1000, 1001, 1002]
    header = races[0].header
    assert (header.driver, header.conditions, header.simulator) == ("pursuit", {}, "embedded")
    assert len(header.track_digest) == 64
    # The expert's races are known by its code: another version of it drives anew.
    assert header.driver_hash == Pursuit.digest()
    assert header.versions["numpy"] == np.__version__
    assert run.metrics[f"{place}/race_score"] == result.metrics["race_score"]["mean"]
    late = folders.read(run, f"{place}-latency")[1][0]
    assert late.header.conditions == {"latency_ms": 100.0}
    # Rows 1 and 2 follow the commands of a car that stands; the first row follows none.
    np.testing.assert_array_equal(late["throttle"][:3], 0.0)
    assert late["throttle"][3] > 0.0
    np.testing.assert_array_equal(late["latency_ms"][1:], 100.0)


def test_a_stranger_is_held_against_the_untrained_the_expert_and_the_best_before(
    folder: pathlib.Path, result: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven: list[str] = []
    drive = driving.drive

    def watched(entrant: drivers.Entrant, *others: object) -> driving.Driven:
        driven.append(entrant.name)
        return drive(entrant, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(driving, "drive", watched)
    stranger = f"{folder}/theirs.py:Straight"
    request = EvaluationRequest(
        driver=stranger, track="waveshare,waveshare:mirror", races=3, laps=1
    )
    first = evaluate(request, ProgressDisplay())
    # The expert's races on the first track are in the store; privileged, it is never the best.
    assert driven == [stranger, "untrained", stranger, "untrained", "pursuit"]
    (mirrored,) = first.others
    assert (first.track, mirrored.track) == ("waveshare", "waveshare:mirror")
    assert mirrored.run_id == first.run_id
    assert mirrored.yardsticks[1].metrics["laps"]["mean"] == 1.0
    assert [each.name for each in first.yardsticks] == ["untrained", "pursuit"]
    assert first.yardsticks[1].metrics["race_score"] == result.metrics["race_score"]
    assert first.metrics["latency_ms"]["mean"] > 0.0
    request = request.model_copy(update={"track": "waveshare"})
    driven.clear()
    again = evaluate(request, ProgressDisplay())
    assert driven == [stranger, "untrained"]
    # Its own run is not what it is held against.
    assert again.run_id == first.run_id
    assert [each.name for each in again.yardsticks] == ["untrained", "pursuit"]
    fails, load = request.model_copy(update={"driver": f"{folder}/theirs.py:Fails"}), drivers.load
    monkeypatch.setattr(drivers, "load", lambda *words, limit_s: load(*words, limit_s=60.0))
    lost = evaluate(fails, ProgressDisplay())
    best = lost.yardsticks[2]
    assert best.name == f"run {first.run_id[:8]}"
    assert best.metrics["distance_u"] == first.metrics["distance_u"]
    # Lost in the fourth step; the rows until then are kept.
    (line,) = lost.failures
    assert "Fails: act() raised RuntimeError: out of ideas (line 14)" in line
    assert "3 of 3 races lost, first that of seed 1000 after 0.15 s" in line
    run = stored_runs.find(lost.run_id)
    races = folders.read(run, lost.files["result"].rpartition("/")[0])[1]
    assert [len(race) for race in races] == [5, 5, 5]


def test_a_driver_that_never_drives_is_an_error_and_leaves_no_run(folder: pathlib.Path) -> None:
    request = EvaluationRequest(
        driver=f"{folder}/theirs.py:Never", track="waveshare", races=2, laps=1
    )
    before = len(list(stored_runs.every()))
    with pytest.raises(DriverError, match=r"No race was driven: .*Never: act.* raised Runtime"):
        evaluate(request, ProgressDisplay())
    assert len(list(stored_runs.every())) == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"track": "waveshare,warrn"}, UnknownNameError, "'warrn'. Did you mean 'warren'?"),
        ({"track": "missing.json"}, TrackError, "missing.json"),
        ({"driver": "persuit"}, UnknownNameError, "Unknown driver 'persuit'. Did you mean"),
        ({"driver": "no/folder"}, InputError, "no driver folder 'no/folder'"),
        ({"driver": "none.py:X"}, InputError, "'none.py' cannot be read: No such file"),
        ({"driver": "theirs.py"}, InputError, "given as PATH.py:NAME"),
        ({"settings": ("vehicle=donkey_2002",)}, InputError, "Did you mean 'donkey_2022'?"),
        ({"metrics": ("none.py:x",)}, InputError, "no file 'none.py'"),
        ({"simulator": "127.0.0.1:1", "robustness": True}, InputError, "embedded simulator only"),
        ({"settings": ("randomisation.grip=0.4",)}, InputError, "a randomisation of their own"),
        ({"settings": ("latency.low_ms=150",)}, InputError, "or add some by --latency-ms"),
        ({"video": pathlib.Path(__file__) / "x.mp4"}, StorageError, "x.mp4 could not be written"),
        ({"video": pathlib.Path(__file__).parent}, InputError, "A video is a file"),
        ({"track": "a/club.json,b/club.json"}, InputError, "Rename a file"),
        ({"settings": ("task.stuck_s=1",)}, InputError, "Races have a task of their own"),
        (
            {"simulator": "127.0.0.1:1", "settings": ("opponents.count=1",)},
            InputError,
            "opponents.count can only be more than 0 in the embedded simulator",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_driven(
    folder: pathlib.Path,
    result: Evaluation,
    changes: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    request = EvaluationRequest(driver="pursuit").model_copy(update=changes)
    with pytest.raises(error) as caught:
        evaluate(request, ProgressDisplay())
    assert message in str(caught.value)


def test_held_out_tracks_are_three_that_the_driver_was_not_trained_on() -> None:
    entrant = PursuitEntrant(
        "p", "pursuit", EnvironmentConfig(track="warren"), tracks=("warren:mirror", "warehouse")
    )
    expected = ("warren", "generated_track", "circuit_launch", "mini_monaco")
    assert evaluation_tracks.chosen(None, None, entrant, held_out=True) == expected
    named = evaluation_tracks.chosen("circuit_launch, warren", None, entrant, held_out=False)
    assert named == ("circuit_launch", "warren")


def test_a_track_file_is_known_by_its_path_and_by_what_is_in_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "mine.json"
    text = (track.FOLDER / "waveshare.json").read_text()
    own.write_text(text)
    driver = small_drivers.lane()
    about = driver.description.model_copy(update={"tracks": (str(own),)})
    where = drivers.environment_of(driver).model_copy(update={"track": "mine.json"})
    entrant = dataclasses.replace(drivers.of_run(driver, where, "3f2a"), tracks=about.tracks)
    plan = RacePlan(races=1, laps=1)
    with ProgressDisplay() as progress:
        driven = driving.drive(entrant, where, plan, progress, "racing")
    assert not driving.report(driven, "3f2a").held_out
    before = driving.key(entrant, where, plan)
    assert before == driving.key(entrant, where, plan)
    found = json.loads(text)
    found["waypoints"] = [[1.01 * value for value in point] for point in found["waypoints"]]
    own.write_text(json.dumps(found))
    assert driving.key(entrant, where, plan) != before


@pytest.mark.parametrize(
    ("track", "where", "delay_ms", "folder_name"),
    [
        ("generated_track", "embedded", 0, "evaluation-generated_track-5x3-seed2"),
        ("generated_track:mirror", "embedded", 0, "evaluation-generated_track-mirror-5x3-seed2"),
        ("/home/me/my track (1).json", "embedded", 0, "evaluation-my-track-1--ddc8ce-5x3-seed2"),
        ("warren", "localhost:9091", 100, "evaluation-warren-remote-5x3-seed2-latency100"),
    ],
)
def test_the_folder_of_an_evaluation_tells_it_from_others(
    track: str, where: str, delay_ms: float, folder_name: str
) -> None:
    entrant = PursuitEntrant("pursuit", "pursuit", EnvironmentConfig())
    config = EnvironmentConfig(track=track, simulator=where)
    late = race_latency.asked(delay_ms, 0.0, None)
    plan = RacePlan(races=5, laps=3, seed=2, latency=late, changes=race_latency.told(late))
    found = folders.name(entrant, config, plan)
    # A file may change, and there are many simulators.
    may_be_another = where != "embedded" or track.endswith(".json")
    assert (found == folder_name) != may_be_another
    marked = folders.name(entrant, config, plan, marked=True)
    other = config.model_copy(update={"throttle_max": 0.5})
    assert marked.startswith(f"{folder_name}-")
    assert found == (marked if may_be_another else folder_name)
    there = config.model_copy(update={"simulator": "192.168.0.7:9091"})
    assert folders.name(entrant, there, plan) != found
    assert marked != folders.name(entrant, other, plan, marked=True)


def test_metrics_of_one_name_are_refused_before_the_races(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        text = (
            "from donkey_rl.metrics.registry import metric\n"
            "@metric(unit='u', direction='lower')\n"
            "def mean_offset(race):\n    return float(abs(race['lateral']).mean())\n"
        )
        (tmp_path / f"{name}.py").write_text(text)
    once, again = (f"{tmp_path / name}.py:mean_offset" for name in ("a", "b"))
    known = len(_metrics(()))
    assert len(_metrics((once, once))) == known + 1
    with pytest.raises(InputError, match="different names"):
        _metrics((once, again))


def test_a_damaged_result_is_as_none_at_all(
    folder: pathlib.Path, result: Evaluation, tmp_path: pathlib.Path
) -> None:
    run = stored_runs.find(result.run_id)
    assert folders.read(run, "no-such-folder") == (None, ())
    damaged = tmp_path / "broken"
    damaged.mkdir()
    (damaged / "result.json").write_text('{"run_id": 3}')
    mlflow_store.client().log_artifacts(run.id, str(damaged), "broken")
    assert folders.read(run, "broken") == (None, ())


def test_a_driver_folder_drives_and_its_agent_untrained_is_the_one_it_began_as(
    tmp_path: pathlib.Path,
) -> None:
    fresh = drivers.usual_driver(EnvironmentConfig(track="warren", vehicle="donkey_2021"))
    trained = drivers.usual_driver(EnvironmentConfig(track="warren", vehicle="donkey_2021"))
    for weight in trained.actor.weights:
        weight.assign(weight + 0.5)
    trained.save(tmp_path / "driver", lite=False)
    entrant = drivers.load(str(tmp_path / "driver"), ["history=3"])
    assert isinstance(entrant, LearnedEntrant)
    assert (entrant.kind, entrant.hash) == ("folder", trained.hash)
    assert (entrant.environment.track, entrant.environment.vehicle) == ("warren", "donkey_2021")
    before = entrant.before_training()
    assert isinstance(before, LearnedEntrant)
    assert entrant.hash != fresh.hash
    for ours, first in zip(before.driver.actor.weights, fresh.actor.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), first.numpy())


@pytest.mark.parametrize(
    ("car", "ratio"),
    # Of the two the one of 2022 reports an eighth: a driver of it expects an eighth.
    [("donkey_2022", 1.0), ("donkey_2021", 1.0 / 8.0), ("donkey_2020", 1.0 / 8.0)],
)
def test_a_driver_reads_speeds_in_the_units_of_its_own_car(
    car: str, ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = small_drivers.lane()
    config = drivers.environment_of(driver).model_copy(update={"vehicle": car})
    seen: list[dict[str, np.ndarray]] = []

    def act(observation: dict[str, np.ndarray]) -> np.ndarray:
        seen.append(observation)
        return np.zeros((1, 2), np.float32)

    monkeypatch.setattr(driver, "act", act)
    entrant = LearnedEntrant("mine", "folder", config, driver.hash, driver=driver)
    field = Field(config, 1, seed=0)
    shown = {
        "image": np.zeros((1, *small_drivers.SHAPE), np.uint8),
        "speed": np.array([[4.0]], np.float32),
        "imu": np.array([[8.0, 0.0, -16.0, 0.0, 0.7, 0.0]], np.float32),
        "last_actions": np.full((1, 4), 0.5, np.float32),
    }
    with entrant.pilot(field) as pilot:
        pilot.begin(1)
        pilot.drive(shown, np.ones(1, np.bool_))
    (found,) = seen
    assert (found is shown) is (ratio == 1.0)
    assert found["speed"].tolist() == [[4.0 * ratio]]
    turning = pytest.approx(0.7)
    assert found["imu"].tolist() == [[8.0 * ratio, 0.0, -16.0 * ratio, 0.0, turning, 0.0]]
    assert found["image"] is shown["image"]
    assert found["speed"].dtype == found["imu"].dtype == np.float32

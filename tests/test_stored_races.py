"""The races of a run's evaluations, read back."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from donkey_rl.errors import StorageError
from donkey_rl.experiments import drivers, evaluation, stored_races, stored_runs
from donkey_rl.experiments.stored_races import Course
from tests import new_stores
from tests import stored_evaluations as stored


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_stores.make(tmp_path_factory.mktemp("runs"))


def test_races_come_back_by_course_and_seed(uri: str) -> None:
    late = stored.races([20.0], conditions={"latency_ms": 100.0})
    ours = {
        "evaluation": stored.races([20.0, 25.0]),
        "evaluation-circle-1x1-seed0-latency100": late,
        "plots": stored.races([30.0]),
    }
    run = stored_runs.find(stored.store("two courses", ours, uri), uri=uri)
    found = stored_races.read(run, uri=uri)
    assert found.problems == ()
    plain, delayed = sorted(found.courses)
    assert str(plain) == "circle, donkey_2022, embedded 0.1.0, 1 lap"
    assert str(delayed) == "circle, donkey_2022, embedded 0.1.0, 1 lap, latency_ms=100.0"
    assert sorted(found.courses[plain]) == [1000, 1001]
    again = found.courses[plain][1001]
    np.testing.assert_array_equal(again["x"], ours["evaluation"][1]["x"])
    assert sorted(found.courses[delayed]) == [1000]


def test_what_makes_races_incomparable_makes_another_course() -> None:
    base = stored.race(20.0, 0).header
    changes = {
        "track": "warren",
        "track_digest": "other geometry",
        "vehicle": "donkey_2021",
        "simulator": "127.0.0.1:9091",
        "version": "0.2.0",
        "laps": 3,
        "conditions": {"grip": 0.25},
    }
    courses = {Course.of(base.model_copy(update={k: v})) for k, v in changes.items()}
    assert len(courses | {Course.of(base)}) == 8
    same = base.model_copy(update={"seed": 5, "driver_hash": "b", "run_id": "c"})
    assert Course.of(same) == Course.of(base)
    # A simulator that tells its version is not of another one because this package is.
    unity = base.model_copy(update={"simulator_version": "v25.10"})
    assert Course.of(unity) == Course.of(unity.model_copy(update={"version": "0.2.0"}))


def test_a_damaged_record_is_named_and_the_others_are_read(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = stored.store("damaged", {"evaluation": stored.races([20.0, 21.0, 22.0, 0.0])}, uri)
    folder = stored.artifacts(run_id, uri) / "evaluation"
    (folder / "race_01.parquet").write_bytes(b"PAR1 and then nothing")
    # Its noise makes it larger than the one that stands at the start.
    sizes = sorted((folder / f"race_0{k}.parquet").stat().st_size for k in (0, 2, 3))
    monkeypatch.setattr(stored_races, "MAX_BYTES", sizes[1] - 1)
    found = stored_races.read(stored_runs.find(run_id, uri=uri), uri=uri)
    assert [seed for races in found.courses.values() for seed in races] == [1003]
    large, damaged, also_large = found.problems
    assert damaged.startswith(f"run {run_id[:8]}: evaluation/race_01.parquet was left out: ")
    assert "Parquet" in damaged
    for problem, name in ((large, "race_00"), (also_large, "race_02")):
        assert f"{name}.parquet was left out" in problem
        assert f"at most {sizes[1] - 1:,} bytes" in problem


def test_a_bound_on_the_number_of_records_is_told(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = stored.store("many", {"evaluation": stored.races([20.0, 21.0, 22.0])}, uri)
    monkeypatch.setattr(stored_races, "MAX_FILES", 2)
    found = stored_races.read(stored_runs.find(run_id, uri=uri), uri=uri)
    assert [seed for races in found.courses.values() for seed in races] == [1000, 1001]
    assert found.problems == (f"run {run_id[:8]}: only 2 of 3 records were read",)


def test_races_of_the_driver_before_a_resumption_do_not_count(uri: str) -> None:
    ours = {
        "evaluation": stored.races([20.0], driver_hash="new"),
        "evaluation-circle-3x1-seed0": stored.races([25.0, 25.0, 25.0], driver_hash="old"),
        "evaluation-circle-2x1-seed0": stored.races([26.0, 20.0], driver_hash="new"),
    }
    run_id = stored.store("resumed", ours, uri)
    found = stored_races.read(stored_runs.find(run_id, uri=uri), uri=uri)
    ((_, races),) = found.courses.items()
    assert {race.header.driver_hash for race in races.values()} == {"new"}
    # Of two races of one seed, that of the first folder.
    np.testing.assert_array_equal(races[1000]["x"], ours["evaluation"][0]["x"])
    assert sorted(races) == [1000, 1001]
    assert found.problems == (
        f"run {run_id[:8]}: 3 races of another driver of this run were left out",
    )


def test_races_left_from_a_longer_evaluation_before_do_not_outvote_the_later(uri: str) -> None:
    # Resumed with fewer races at the end: race_00 is written anew, two are left from before.
    before = stored.races([25.0, 25.0, 25.0], driver_hash="old")
    run_id = stored.store("fewer", {"evaluation": before}, uri)
    stored.races([20.0], driver_hash="new")[0].save(
        stored.artifacts(run_id, uri) / "evaluation" / "race_00.parquet"
    )
    found = stored_races.read(stored_runs.find(run_id, uri=uri), uri=uri)
    assert found.driver_hash == "new"
    ((_, races),) = found.courses.items()
    assert list(races) == [1000]


@pytest.mark.parametrize("place", ["../other", "/etc", "evaluation/../..", "", "a\\..\\b"])
def test_nothing_outside_of_a_run_is_fetched(uri: str, place: str) -> None:
    run = stored_runs.find(stored.store("inside", {}, uri), uri=uri)
    with pytest.raises(StorageError, match="lies inside it"):
        stored_runs.download(run, place, uri=uri)


def test_a_run_without_races_has_none(uri: str, tmp_path: pathlib.Path) -> None:
    run = stored_runs.find(stored.store("nothing", {}, uri), uri=uri)
    assert stored_races.files(run, uri=uri) == ()
    assert stored_races.read(run, uri=uri).courses == {}


def test_settings_of_an_evaluation_make_another_course() -> None:
    asked = {"driver": "pursuit", "settings": ("vehicle=donkey_2021", "throttle_max = 0.5")}
    request = evaluation.EvaluationRequest.model_validate(asked | {"latency_ms": 60.0})
    entrant = drivers.load(request.driver, request.settings)
    plan = evaluation._plan(request, entrant, entrant.environment, ())
    assert plan.changes == {"latency_ms": 60.0, "throttle_max": "0.5"}
    header = stored.race(20.0, 0, conditions=dict(plan.changes)).header
    assert Course.of(header).conditions == "latency_ms=60.0, throttle_max=0.5"

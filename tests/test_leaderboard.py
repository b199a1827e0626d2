"""All runs by score, each course by itself."""

from __future__ import annotations

import json
import pathlib

import pytest

from donkey_rl import cli
from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments import (
    course_scores,
    leaderboard,
    mlflow_store,
    result_rows,
    stored_races,
    stored_runs,
    tracking,
)
from donkey_rl.experiments.course_scores import CourseScore, Figure
from donkey_rl.experiments.leaderboard import Leaderboard, LeaderboardRequest
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.stored_races import Course
from donkey_rl.experiments.stored_runs import StoredRun
from tests import new_stores
from tests import stored_evaluations as stored

FOLDER = "evaluation-circle-4x1-seed0"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with five runs, one of them without a race."""
    uri = new_stores.make(tmp_path_factory.mktemp("runs"))
    quick, slow = (20.0, 20.1, 20.2, 20.3), (30.0, 30.1, 30.2, 30.3)
    newer = stored.races(slow, version="0.2.0")
    other = stored.races(slow, vehicle="donkey_2021")
    late = stored.races(slow, conditions={"latency_ms": 100.0})
    runs = {
        "slow": {FOLDER: stored.races(slow)},
        "quick": {FOLDER: stored.races(quick), f"{FOLDER}-latency100": late},
        "quick too": {FOLDER: stored.races(quick[::-1]), "evaluation-other": newer},
        "two of four": {FOLDER: stored.races((20.0, 0.0, 20.0, 0.0)), "evaluation-car": other},
        "nothing": {},
    }
    for name, evaluations in runs.items():
        stored.store(name, evaluations, uri)
    return uri


@pytest.fixture(autouse=True)
def at_the_store(uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)


def board(**options: object) -> Leaderboard:
    with ProgressDisplay() as progress:
        return leaderboard.leaderboard(LeaderboardRequest.model_validate(options), progress)


def test_runs_are_ranked_course_by_course_and_never_mixed() -> None:
    result = board()
    assert (result.runs, result.without_races, result.problems) == (5, 1, ())
    found = {str(each.course): [row.name for row in each.rows] for each in result.boards}
    assert found == {
        "circle, donkey_2022, embedded 0.1.0, 1 lap": [
            "quick too", "quick", "two of four", "slow",
        ],
        "circle, donkey_2021, embedded 0.1.0, 1 lap": ["two of four"],
        "circle, donkey_2022, embedded 0.2.0, 1 lap": ["quick too"],
    }  # fmt: skip
    main = result.boards[0].rows
    # The same four races in another order: a tie. Of 20 s and nothing, half the score of 20 s
    # with an interval from nothing to all of it: no one to tell from the best either.
    assert [(row.rank, row.tied) for row in main] == [(1, True), (1, True), (1, True), (4, False)]
    # 200 u at the reference of 20 u/s are 10 s: 1 + 99 (10 / 20)^3 = 13.375.
    best = main[0].result
    assert best.races == 4
    assert best.best_lap_s == pytest.approx(20.0, abs=0.01)
    assert best.score.value == pytest.approx(13.1, abs=0.1)
    half = main[2].result
    assert half.disqualified.value == 0.5
    assert half.disqualified.low == pytest.approx(0.15, abs=0.01)
    assert main[3].result.disqualified.value == 0.0


def entry(
    name: str, value: float | None, low: float | None, high: float | None
) -> tuple[StoredRun, CourseScore]:
    nothing = Figure(value=None, low=None, high=None)
    course = Course("circle", "", "", "", 1)
    run = StoredRun(name, name, "FINISHED", {}, {}, {}, "")
    score = Figure(value=value, low=low, high=high)
    result = CourseScore(
        course=course, races=3, score=score, disqualified=nothing, best_lap_s=None, pace=None
    )
    return run, result


def test_a_tie_is_one_with_the_first_of_the_place() -> None:
    # b meets a; c meets b but not a, and opens the third place; d has one race and no interval,
    # so nothing tells it from c; e has no score at all.
    rows = leaderboard.ranked(
        [
            entry("e", None, None, None),
            entry("d", 5.0, None, None),
            entry("c", 7.0, 6.0, 7.9),
            entry("b", 8.0, 7.0, 9.0),
            entry("a", 9.0, 8.0, 10.0),
        ]
    )
    assert [(row.name, row.rank, row.tied) for row in rows] == [
        ("a", 1, True),
        ("b", 1, True),
        ("c", 3, True),
        ("d", 3, True),
        ("e", 5, False),
    ]


def test_a_race_without_a_row_says_nothing_of_disqualifications(tmp_path: pathlib.Path) -> None:
    uri = new_stores.make(tmp_path)
    driven = stored.races([20.0, 0.0, 20.0])
    driven[2] = driven[2].cut(0)
    run_id = stored.store("cut off", {FOLDER: driven}, uri)
    (found,) = course_scores.of(stored_runs.find(run_id, uri=uri), uri=uri).courses
    # One of the two races of which something is known.
    assert (found.races, found.disqualified.value) == (3, 0.5)


@pytest.mark.parametrize("longest", [5000, 150])
def test_scores_are_kept_in_the_run_until_its_races_change(
    uri: str, monkeypatch: pytest.MonkeyPatch, longest: int, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(course_scores, "_MAX_TAG", longest)
    run_id = stored.store("kept", {FOLDER: stored.races([20.0, 22.0])}, uri)
    first = course_scores.of(stored_runs.find(run_id))
    run = stored_runs.find(run_id)
    parts = [value for name, value in run.tags.items() if name.startswith(course_scores.TAG)]
    assert (len(parts) > 1) == (longest < 1000)
    assert max(map(len, parts)) <= min(longest, 1000)
    with monkeypatch.context() as patched:
        patched.setattr(stored_races, "read", lambda *_, **__: pytest.fail("read again"))
        assert course_scores.of(run) == first
    # A further race, another code of metrics, or a tag that is not ours: scored again.
    with tracking.attach(run_id) as more:
        stored.add(more, "evaluation-more", [stored.race(18.0, 7)])
    second = course_scores.of(stored_runs.find(run_id))
    assert [each.races for each in (*first.courses, *second.courses)] == [2, 3]
    assert second.courses[0].best_lap_s == pytest.approx(18.0, abs=0.01)
    limits_file = tmp_path / "limits.json"
    limits_file.write_text('{"tracks": {}}')
    monkeypatch.setenv("DONKEY_RL_LIMITS", str(limits_file))
    assert course_scores.of(stored_runs.find(run_id)).key != second.key
    monkeypatch.delenv("DONKEY_RL_LIMITS")
    monkeypatch.setattr(course_scores, "_code", lambda: "other metrics")
    assert course_scores.of(stored_runs.find(run_id)).key != second.key
    mlflow_store.client().set_tag(run_id, course_scores.TAG, '{"key": "made up"}')
    assert course_scores.of(stored_runs.find(run_id)).courses == second.courses
    mlflow_store.client().delete_run(run_id)


def test_a_damaged_record_is_named_and_the_others_are_ranked(uri: str) -> None:
    run_id = stored.store("scratched", {FOLDER: stored.races([25.0, 25.0])}, uri)
    (stored.artifacts(run_id, uri) / FOLDER / "race_00.parquet").write_bytes(b"no race")
    for _ in range(2):  # the second time from the run's tag
        result = board()
        (problem,) = result.problems
        assert problem.startswith(f"run {run_id[:8]}: {FOLDER}/race_00.parquet was left out")
        rows = {row.name: row.result.races for row in result.boards[0].rows}
        assert rows["scratched"] == 1
        assert rows["quick"] == 4
    mlflow_store.client().delete_run(run_id)


def test_courses_that_differ_by_the_tracks_geometry_alone_are_told_apart(uri: str) -> None:
    moved = {FOLDER: stored.races([20.0], track_digest="5f1c" * 16)}
    run_id = stored.store("moved", moved, uri)
    titles = [table.title for table in result_rows.boards(board())]
    plain = "circle, donkey_2022, embedded 0.1.0, 1 lap, track geometry"
    assert [title for title in titles if title.startswith(plain)] == [
        f"{plain} not recorded",
        f"{plain} 5f1c5f1c",
    ]
    mlflow_store.client().delete_run(run_id)


def test_a_track_without_races_and_an_unknown_one_are_told(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(InputError, match=r"None of 5 runs has a race on warren.*evaluate RUN"):
        board(track="warren")
    with pytest.raises(UnknownNameError, match="Did you mean 'warren'"):
        board(track="waren")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none' / 'mlflow.db'}")
    with pytest.raises(InputError, match="There are no runs yet"):
        board()
    assert not (tmp_path / "none").exists()


def test_one_track_alone(uri: str) -> None:
    run_id = stored.store("elsewhere", {FOLDER: stored.races([20.0], track="warren")}, uri)
    result = board(track="warren")
    assert [row.name for row in result.boards[0].rows] == ["elsewhere"]
    assert (len(result.boards), result.without_races) == (1, 5)
    mlflow_store.client().delete_run(run_id)


def test_the_command_prints_one_json_object_and_writes_a_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("leaderboard", "--out", "board.html")
    assert cli.main((*words, "--json")) == cli.SUCCESS
    found = json.loads(capsys.readouterr().out)
    first = found["boards"][0]
    assert (first["track"], first["vehicle"], first["version"]) == (
        "circle",
        "donkey_2022",
        "0.1.0",
    )
    assert [row["rank"] for row in first["rows"]] == [1, 1, 1, 4]
    assert set(first["rows"][0]["score"]) == {"value", "low", "high"}
    text = pathlib.Path("board.html").read_text()
    for each in found["boards"]:
        assert f"{each['track']}, {each['vehicle']}, embedded {each['version']}, 1 lap" in text
    assert cli.main(words) == cli.SUCCESS
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "4 of 5 runs have races here."
    assert any(line.startswith("4 slow") for line in lines)
    assert sum(line.startswith("1= ") for line in lines) == 3


def test_a_page_is_no_other_file(capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("mine.html").write_text("mine")
    assert cli.main(("leaderboard", "--out", "mine.html")) == cli.BAD_INPUT
    assert "--force" in capsys.readouterr().err
    assert pathlib.Path("mine.html").read_text() == "mine"
    assert cli.main(("compare", "quick", "slow", "--out", "page.txt")) == cli.BAD_INPUT
    assert "The page is an .html file" in capsys.readouterr().err

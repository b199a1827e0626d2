from __future__ import annotations

import importlib.resources
import json
import math
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from donkey_rl.cli import main
from donkey_rl.envs.simulator import track
from donkey_rl.errors import InputError
from donkey_rl.experiments import learning_curves, pictures, splits, stored_runs, tracking
from donkey_rl.experiments.pictures import PicturesRequest
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.stored_races import Course
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, Race, RaceHeader
from tests import new_stores

SPEED = 20.0
CAMERA = {"img_w": 32, "img_h": 24}


def drive(seed: int, seconds: float) -> Race:
    """A race along the path of the warehouse at 20 u/s, from the start line on."""
    road = track.load("warehouse")
    time = np.arange(round(seconds * 20) + 1) * 0.05
    x, z, yaw = road.path.at(road.start_line + SPEED * time)
    header = RaceHeader(
        track="warehouse",
        track_length=road.length,
        nodes=len(road.nodes),
        start_line=road.start_line,
        start_line_progress=0.0,
        road_left=road.road_left,
        road_right=road.road_right,
        vehicle="donkey_2021",
        laps=1,
        seed=seed,
        camera=CAMERA,
    )
    columns = {name: np.zeros(len(time)) for name in COLUMNS if name not in OPTIONAL}
    columns |= {
        "time_s": time,
        "progress": SPEED * time,
        "speed": np.full(len(time), SPEED),
        "x": x,
        "z": z,
        "yaw": yaw,
    }
    return Race(header, columns)


def log_run(folder: pathlib.Path, seed: int, races: tuple[Race, ...], clean: float) -> str:
    params = {"agent": "sac", "track": "warehouse", "seed": seed, "sac.gamma": 0.99}
    with tracking.start(f"sac warehouse seed {seed}", params=params) as run:
        run.log_metrics({"check/clean_share": 0.0, "check/mean_lap_s": math.nan}, step=1000)
        run.log_metrics({"check/clean_share": clean, "check/mean_lap_s": 21.0}, step=2000)
        for race in races:
            race.save(folder / f"race_{race.header.seed:02d}.parquet")
            run.log_artifact(folder / f"race_{race.header.seed:02d}.parquet", "evaluation")
    return run.id


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two runs of one configuration with races, and one without any."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", new_stores.make(folder))
        yield [
            log_run(folder, 0, (drive(3, 60.0), drive(4, 0.5)), 0.5),
            log_run(folder, 1, (drive(4, 0.6),), 1.0),
            log_run(folder, 2, (), 0.0),
        ]


def drawn(request: PicturesRequest) -> pictures.PicturesResult:
    with ProgressDisplay() as progress:
        return pictures.draw(request, progress)


def test_the_usual_pictures_are_drawn_and_what_is_missing_is_named(
    runs: list[str], tmp_path: pathlib.Path
) -> None:
    result = drawn(PicturesRequest(runs=(runs[0], runs[1], runs[0][:12]), out=tmp_path / "new"))
    assert result.runs == (runs[0], runs[1])
    assert result.track == "warehouse"
    names = {f"trajectory-{run[:8]}" for run in runs[:2]} | {"speed", "cte", "laps", "learning"}
    assert set(result.files) == names
    for file in result.files.values():
        with Image.open(file) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300
    assert list(result.left_out) == ["saliency"]
    assert "holds no driver" in result.left_out["saliency"]


def test_what_was_asked_for_must_be_there(runs: list[str], tmp_path: pathlib.Path) -> None:
    def ask(*given: str, **asked: object) -> None:
        drawn(PicturesRequest.model_validate({"runs": given, "out": tmp_path} | asked))

    with pytest.raises(InputError, match="holds no driver"):
        ask(runs[0], what=("saliency",))
    with pytest.raises(InputError, match="none of sac warehouse seed 2"):
        ask(runs[2], what=("speed",))
    with pytest.raises(InputError, match=r"on warren\. Received: none of sac warehouse seed 0"):
        ask(runs[0], what=("laps",), track="warren")
    with pytest.raises(InputError, match="on a track that all of them raced"):
        ask(runs[0], runs[2], what=("laps",))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"into a folder\. Received a file: .*--out"):
        ask(runs[0], out=tmp_path / "file")


def test_races_on_a_track_of_ones_own_are_drawn_on_its_file(
    runs: list[str], tmp_path: pathlib.Path
) -> None:
    # By the name of a scene: only the digest tells that it is another road.
    file = tmp_path / "warehouse.json"
    known = importlib.resources.files("donkey_rl.envs.simulator") / "tracks" / "warren.json"
    file.write_bytes(known.read_bytes())
    about = {"track": "warehouse", "track_digest": track.load(str(file)).digest}
    race = drive(3, 20.0)
    race = Race(race.header.model_copy(update=about), race.columns)
    unnamed = log_run(tmp_path, 6, (race,), 0.0)
    request = PicturesRequest(runs=(unnamed,), what=("trajectory",), out=tmp_path)
    with pytest.raises(InputError, match=r"a track of your own.*--track FILE\.json"):
        drawn(request)
    with tracking.start("named", params={"track": str(file)}) as run:
        race.save(tmp_path / "race_03.parquet")
        run.log_artifact(tmp_path / "race_03.parquet", "evaluation")
    found = drawn(request.model_copy(update={"runs": (run.id,)}))
    assert list(found.files) == [f"trajectory-{run.id[:8]}"]


def test_two_runs_are_shown_beside_each_other(runs: list[str], tmp_path: pathlib.Path) -> None:
    request = PicturesRequest(runs=(runs[1],), what=("video",), video_with=runs[0], out=tmp_path)
    result = drawn(request)
    assert set(result.files) == {f"video-{runs[1][:8]}", "side-by-side"}
    for file in result.files.values():
        assert b"ftyp" in pathlib.Path(file).read_bytes()[:12]


def test_runs_without_a_common_seed_are_not_set_beside_each_other(
    runs: list[str], tmp_path: pathlib.Path
) -> None:
    other = log_run(tmp_path, 5, (drive(9, 0.5),), 0.0)
    request = PicturesRequest(runs=(runs[1],), what=("laps",), video_with=other, out=tmp_path)
    with pytest.raises(InputError, match="seed 1 with seeds 4, sac warehouse seed 5 with seeds 9"):
        drawn(request)


def test_runs_that_differ_in_their_seed_are_one_configuration(runs: list[str]) -> None:
    params = {"agent": "sac", "track": "warehouse", "seed": 7, "sac.gamma": 0.9}
    with tracking.start("other", params=params) as run:
        for clean in (0.25, 0.75):  # logged twice: the run was gone on with
            run.log_metrics({"check/clean_share": clean}, step=1000)
    found = learning_curves.groups([stored_runs.find(each) for each in (*runs, run.id)])
    assert [group.label for group in found] == [
        "sac on warehouse sac.gamma=0.99",
        "sac on warehouse sac.gamma=0.9",
    ]
    three, one = (group.curves["share of clean laps"] for group in found)
    np.testing.assert_array_equal([curve.values for curve in three], [[0, 0.5], [0, 1], [0, 0]])
    np.testing.assert_array_equal(three[0].steps, [1000, 2000])
    assert [curve.values.tolist() for curve in one] == [[0.75]]
    assert [len(curve.steps) for curve in found[0].curves["mean lap (s)"]] == [1, 1, 1]
    assert "mean lap (s)" not in found[1].curves


def test_races_as_they_are_go_before_more_of_changed_conditions() -> None:
    race = drive(1, 0.1)
    plain = Course.of(race.header)
    late = Course.of(race.header.model_copy(update={"conditions": {"latency_ms": 100}}))
    few, many = {1: race}, {2: race, 1: race}
    assert len(pictures.races_on({late: many, plain: few}, "warehouse")) == 1
    assert len(pictures.races_on({late: many}, "warehouse")) == 2
    assert pictures.races_on({plain: few}, "warren") == ()


def test_the_common_track_is_of_one_road() -> None:
    """A file of one's own may have been edited between two runs."""
    header = drive(1, 0.1).header

    def on(name: str, digest: str, count: int) -> dict[Course, dict[int, Race]]:
        course = Course.of(header.model_copy(update={"track": name, "track_digest": digest}))
        return {course: {seed: drive(1, 0.1) for seed in range(count)}}

    old, new = "a" * 64, "b" * 64
    first = on("mine", old, 9) | on("mine", new, 2)
    assert pictures._common_track([first, on("mine", new, 3)]) == ("mine", new)
    assert pictures._common_track([first]) == ("mine", old)
    assert pictures._common_track([on("mine", old, 9), on("mine", new, 3)]) == (None, "")
    # Races of before there were digests.
    assert pictures._common_track([on("mine", "", 2), on("mine", new, 3)]) == ("mine", new)
    assert pictures._common_track([on("mine", "", 2)]) == ("mine", "")


def test_a_run_names_all_its_tracks() -> None:
    params = {"track": "a.json,warren", "evaluation.tracks": "generalist:validation"}
    named = splits.named_by(params)
    assert named[:2] == ("a.json", "warren")
    assert "generated_road" in named
    assert splits.named_by({"track": ""}) == ()


def test_the_command_says_what_it_wrote(
    runs: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plot", runs[0], "--what", "cte, laps", "--out", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["files"] == {name: str(tmp_path / f"{name}.png") for name in ("cte", "laps")}
    assert main(words) == 0
    shown = "".join(capsys.readouterr().out.split())
    assert str(tmp_path / "laps.png") in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--what", "trajectories"], "Did you mean 'trajectory'"),
        (["--what", "cte,"], "Unknown picture ''"),
        (["--track", "warehous"], "Did you mean 'warehouse'"),
        (["--video-with", "nobody"], "Unknown run 'nobody'"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    message: str,
    runs: list[str],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plot", runs[0], "--out", str(tmp_path), *words]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert message in said
    assert said.startswith("error:")

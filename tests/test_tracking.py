from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import time
import types
import urllib.request

import gymnasium
import numpy as np
import pytest

import donkey_rl.agents
from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments import dashboard, mlflow_store, saved_view, stored_runs, tracking
from donkey_rl.experiments.driver_model import MODEL_TAG
from donkey_rl.experiments.spooling import sender

OBSERVATION = gymnasium.spaces.Dict(
    image=gymnasium.spaces.Box(0, 255, (12, 16, 3), np.uint8),
    speed=gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32),
)
ACTION = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all tests: a new one takes seconds. Its path has a space, as people's do."""
    return f"sqlite:///{tmp_path_factory.mktemp('my runs') / 'mlflow.db'}"


@pytest.fixture
def driver(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"steering": 0.25}')
    (folder / "actor.bin").write_bytes(bytes(range(256)))
    return folder


def test_a_run_comes_back_with_all_it_logged(uri: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "lap.txt").write_text("12.5 s")
    settings = {f"sac.setting_{k}": k for k in range(150)}  # more than MLflow takes in one call
    with tracking.start("whole", params=settings, tags={"track": "warren"}, uri=uri) as run:
        run.log_metrics({"eval/best_lap_s": 14.0, "eval/none": math.nan}, step=1000)
        run.log_metrics({"eval/best_lap_s": 12.5}, step=2000)
        run.log_artifact(tmp_path / "lap.txt", "laps")
    stored = stored_runs.find(run.id, uri=uri)
    assert (stored.name, stored.status) == ("whole", "FINISHED")
    assert stored.params == {key: str(value) for key, value in settings.items()}
    assert stored.tags == {"track": "warren"}
    assert stored.metrics == {"eval/best_lap_s": 12.5}
    history = mlflow_store.client(uri).get_metric_history(run.id, "eval/best_lap_s")
    assert [(point.step, point.value) for point in history] == [(1000, 14.0), (2000, 12.5)]
    database = mlflow_store.database_path(uri)
    assert database is not None
    (file,) = database.parent.glob("mlartifacts/**/lap.txt")
    assert file.parent.name == "laps"
    assert file.read_text() == "12.5 s"


def test_a_reader_finds_what_was_logged_a_moment_before(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "settle_all", functools.partial(sender.settle_all, 60.0))
    run = tracking.start("read at once", uri=uri)
    for step in range(3):
        run.log_metrics({"a": float(step)}, step=step)
        assert stored_runs.find(run.id, uri=uri).metrics == {"a": float(step)}
    run.end()


def test_a_name_is_no_longer_than_databases_have_room_for(uri: str) -> None:
    with tracking.start("x" * 300, uri=uri) as run:
        pass
    assert stored_runs.find(run.id, uri=uri).name == "x" * 250


def test_more_points_than_one_call_takes(uri: str) -> None:
    with tracking.start("many points", uri=uri) as run:
        for step in range(40):
            run.log_metrics({f"m{k}": float(step) for k in range(60)}, step=step)
    client = mlflow_store.client(uri)
    for name in ("m0", "m59"):
        history = client.get_metric_history(run.id, name)
        assert [point.step for point in history] == list(range(40))


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "FINISHED"), (KeyboardInterrupt(), "KILLED"), (RuntimeError("broken"), "FAILED")],
)
def test_a_run_ends_by_what_happened_in_it(
    uri: str, error: BaseException | None, status: str
) -> None:
    run = tracking.start("ending", uri=uri)
    expected = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with expected, run:
        run.log_metrics({"a": 1.0}, step=1)
        if error is not None:
            raise error
    stored = stored_runs.find(run.id, uri=uri)
    assert stored.status == status
    assert stored.metrics == {"a": 1.0}


def test_a_driver_is_stored_without_a_pickle_and_comes_back(
    uri: str, driver: pathlib.Path
) -> None:
    with tracking.start("with driver", uri=uri) as run:
        run.log_driver(driver, OBSERVATION, ACTION)
        (driver / "actor.bin").write_bytes(b"better")
        run.log_driver(driver, OBSERVATION, ACTION)
    folder = stored_runs.download_driver(run.id, uri=uri)
    assert {file.name for file in folder.iterdir()} == {"manifest.json", "actor.bin"}
    assert (folder / "actor.bin").read_bytes() == b"better"
    written = {file.suffix for file in folder.parents[1].rglob("*") if file.is_file()}
    assert not written & {".pkl", ".pickle", ".joblib"}
    model = (folder.parents[1] / "MLmodel").read_text()
    assert "loader_module: donkey_rl.experiments.driver_model" in model
    outputs = mlflow_store.client(uri).get_run(run.id).outputs
    assert len({output.model_id for output in outputs.model_outputs}) == 2


def test_mlflow_drives_by_the_stored_driver(
    uri: str, driver: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Steady:
        """Steers by the manifest and gives throttle by the mean of the image."""

        def __init__(self, folder: str) -> None:
            manifest = pathlib.Path(folder, "manifest.json").read_text()
            self.steering = json.loads(manifest)["steering"]

        @classmethod
        def load(cls, folder: str) -> Steady:
            return cls(folder)

        def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
            throttle = observation["image"].mean(axis=(1, 2, 3)) / 255.0
            return np.stack([np.full(len(throttle), self.steering), throttle], axis=1)

    # Stands in for the folder's reader, so that no TensorFlow is needed here.
    module = types.ModuleType("donkey_rl.agents.ensemble")
    module.load = Steady.load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(donkey_rl.agents, "ensemble", module, raising=False)
    with tracking.start("served", uri=uri) as run:
        run.log_driver(driver, OBSERVATION, ACTION)
    from mlflow import pyfunc

    model_id = stored_runs.find(run.id, uri=uri).tags[MODEL_TAG]
    location = mlflow_store.client(uri).get_logged_model(model_id).artifact_location
    model = pyfunc.load_model(location)
    image = np.zeros((3, 12, 16, 3), np.uint8)
    image[1] = 255
    speed = np.zeros((3, 1), np.float32)
    action = model.predict({"image": image, "speed": speed})
    np.testing.assert_allclose(action, [[0.25, 0.0], [0.25, 1.0], [0.25, 0.0]])
    assert action.dtype == np.float32
    with pytest.raises(Exception, match="shape"):
        model.predict({"image": image[:, :6], "speed": speed})


def test_a_run_without_a_driver_says_so(uri: str) -> None:
    with tracking.start("no driver", uri=uri) as run:
        pass
    with pytest.raises(InputError, match="holds no driver"):
        stored_runs.download_driver(run.id, uri=uri)
    with tracking.start("pursuit", uri=uri, tags={"kind": "evaluation"}) as run:
        pass
    with pytest.raises(InputError, match=r"only the races of pursuit\. .* with --races\."):
        stored_runs.download_driver(run.id, uri=uri)


def test_runs_are_found_by_id_beginning_and_name(uri: str) -> None:
    with tracking.start("older twin", uri=uri), tracking.start("older twin", uri=uri) as later:
        pass
    assert stored_runs.find(later.id[:8], uri=uri).id == later.id
    assert stored_runs.find("older twin", uri=uri).id == later.id


def test_an_unknown_run_answers_with_the_nearest(uri: str) -> None:
    with tracking.start("fast driver", uri=uri) as run:
        pass
    other_digit = "1" if run.id[20] == "0" else "0"
    wrong = run.id[:20] + other_digit + run.id[21:-1]
    with pytest.raises(UnknownNameError) as caught:
        stored_runs.find(wrong, uri=uri)
    assert caught.value.nearest == run.id
    with pytest.raises(UnknownNameError, match="Did you mean 'fast driver'"):
        stored_runs.find("fast drivr", uri=uri)
    with pytest.raises(UnknownNameError):
        stored_runs.find(run.id[:3], uri=uri)


def test_more_can_be_logged_into_a_finished_run(uri: str) -> None:
    with tracking.start("evaluated later", uri=uri) as run:
        pass
    with tracking.attach(run.id, uri=uri) as again:
        again.log_metrics({"eval/laps": 3.0}, step=5)
    stored = stored_runs.find(run.id, uri=uri)
    assert (stored.status, stored.metrics) == ("FINISHED", {"eval/laps": 3.0})


def test_a_run_can_belong_to_another(uri: str) -> None:
    with (
        tracking.start("parent", uri=uri) as parent,
        tracking.start("child", parent=parent.id, uri=uri) as child,
    ):
        pass
    tags = mlflow_store.client(uri).get_run(child.id).data.tags
    assert tags["mlflow.parentRunId"] == parent.id


def test_a_file_to_log_must_exist(uri: str, tmp_path: pathlib.Path) -> None:
    with tracking.start("missing", uri=uri) as run:
        with pytest.raises(InputError, match="must exist"):
            run.log_artifact(tmp_path / "none.mp4")
        with pytest.raises(InputError, match="must be a folder"):
            run.log_driver(tmp_path / "none", OBSERVATION, ACTION)


def test_a_failing_end_does_not_hide_the_error_before_it(uri: str) -> None:
    run = tracking.start("deleted under way", uri=uri)
    mlflow_store.client(uri).delete_run(run.id)
    run.log_metrics({"a": 1.0}, step=1)
    with pytest.raises(RuntimeError, match="the first error") as caught, run:
        raise RuntimeError("the first error")
    (note,) = caught.value.__notes__
    assert "could not be stored" in note
    assert "It is kept in" in note


def script(
    code: str, folder: pathlib.Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def test_nothing_but_our_own_words_reaches_standard_output(
    tmp_path: pathlib.Path, driver: pathlib.Path
) -> None:
    done = script(
        f"""
        import sys
        from donkey_rl.experiments import stored_runs, tracking
        assert "mlflow" not in sys.modules
        import gymnasium, numpy
        box = gymnasium.spaces.Box(-1, 1, (2,), numpy.float32)
        with tracking.start("quiet") as run:
            run.log_driver({str(driver)!r}, gymnasium.spaces.Dict(image=box), box)
        stored_runs.download_driver(run.id)
        print("only this")
        """,
        tmp_path,
        MLFLOW_TRACKING_URI="",
    )
    assert done.stdout == "only this\n"
    assert done.stderr == ""
    assert (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_leaves_the_run_readable(uri: str, tmp_path: pathlib.Path) -> None:
    """Nothing fits into the store or beside it: the call says so, and what was there stays."""
    database = mlflow_store.database_path(uri)
    assert database is not None
    (tmp_path / "video.mp4").write_bytes(bytes(8_000_000))
    done = script(
        f"""
        import pathlib, resource, time
        from donkey_rl.errors import StorageError
        from donkey_rl.experiments import logged_run, stored_runs, tracking
        logged_run._END_S = 1.0
        run = tracking.start("disk full", uri={uri!r})
        run.log_metrics({{"a": 1.0}}, step=1)
        run.flush()
        while not run._sender.is_done:
            time.sleep(0.05)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        for attempt in (
            lambda: [run.log_metrics({{"b": float(k)}}, step=k) for k in range(1000)],
            lambda: run.log_artifact("video.mp4"),
            run.end,
        ):
            try:
                attempt()
            except StorageError as error:
                print(error)
        """,
        tmp_path,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stdout
    for line in lines:
        assert "nothing can be kept here (File too large" in line
    stored = stored_runs.find("disk full", uri=uri)
    assert stored.metrics["a"] == 1.0
    with tracking.attach(stored.id, uri=uri) as run:
        run.log_metrics({"a": 2.0}, step=2)
    assert stored_runs.find("disk full", uri=uri).metrics["a"] == 2.0


def is_open(port: int) -> bool:
    try:
        socket.create_connection((dashboard.HOST, port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.slow
def test_the_pages_show_what_was_logged(uri: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "plot.png").write_bytes(b"\x89PNG picture")
    with tracking.start("seen in the pages", uri=uri) as run:
        run.log_artifact(tmp_path / "plot.png", "plots")
    with socket.socket() as probe:
        probe.bind((dashboard.HOST, 0))
        port = probe.getsockname()[1]
    ended = pytest.raises(KeyboardInterrupt)
    with ended, dashboard.serve(port, uri) as server:
        base = f"http://{dashboard.HOST}:{port}"
        with urllib.request.urlopen(f"{base}/", timeout=60) as page:
            assert b"<title>MLflow</title>" in page.read()
        path = f"{base}/get-artifact?path=plots/plot.png&run_uuid={run.id}"
        with urllib.request.urlopen(path, timeout=60) as picture:
            assert picture.read() == b"\x89PNG picture"
        view = saved_view.address(base, uri)
        assert saved_view.address(base, uri) == view
        client = mlflow_store.client(uri)
        experiment = client.get_experiment(mlflow_store.experiment_id(client, uri))
        (key,) = [name for name in experiment.tags if name.startswith("mlflow.sharedViewState.")]
        assert f"/runs?viewStateShareKey={key.rpartition('.')[2]}&compareRunsMode=CHART" in view
        charts = json.loads(experiment.tags[key])["compareRunCharts"]
        assert {"result/best_lap_s", "check/best_lap_s"} <= {each["metricKey"] for each in charts}
        with pytest.raises(InputError, match=f"Port {port} cannot be used"):
            dashboard.open_dashboard(port, uri)
        signal.raise_signal(signal.SIGINT)
    assert server.poll() is not None
    # Who listened was no child of ours, but of the server's.
    until = time.monotonic() + 60.0
    while is_open(port):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_where_runs_are_listed_is_said_where_none_is_near(uri: str) -> None:
    """Up to twelve names are given, more are not: seven runs have fourteen ids and names."""
    for number in range(7):
        with tracking.start(f"driver {number}", uri=uri):
            pass
    with pytest.raises(UnknownNameError, match=r"leaderboard` and .* list the runs"):
        stored_runs.find("zzzz-zzzz", uri=uri)

"""The run store is away while runs go on: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from donkey_rl.errors import StorageError, StoreAwayError
from donkey_rl.experiments import logged_run, mlflow_store, stored_runs, tracking
from donkey_rl.experiments.spooling import leftovers, spool
from donkey_rl.experiments.spooling.entries import Tags
from tests import tracking_server
from tests.test_tracking import ACTION, OBSERVATION
from tests.tracking_server import TrackingServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by POSIX signals"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with tracking_server.serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logged_run, "_END_S", 60.0)
    # Ten seconds after its start a run would log what the machine does.
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")


def history(server: TrackingServer, run_id: str, name: str) -> list[tuple[int, float]]:
    client = mlflow_store.client(server.uri)
    return [(each.step, each.value) for each in client.get_metric_history(run_id, name)]


def test_a_run_goes_on_while_the_server_is_away(
    server: TrackingServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lap.txt").write_text("12.5 s")
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "manifest.json").write_text("{}")
    took: list[float] = []
    with tracking.start("away in between", uri=server.uri) as run:
        for step in range(300):
            if step == 100:
                server.stop()
                run.log_artifact(tmp_path / "lap.txt", "laps")
                (tmp_path / "lap.txt").write_text("changed afterwards")
                run.log_driver(tmp_path / "driver", OBSERVATION, ACTION)
                run.set_tags({"while": "away"})
                run.log_input("set", "https://me:secret@host/set", "0123", "imitation")
            if step == 250:
                assert run._sender is not None
                ends = time.monotonic() + 60.0
                while not run._sender.away:
                    assert time.monotonic() < ends
                    time.sleep(0.05)
                server.start()
            before = time.perf_counter()
            run.log_metrics({"a": step / 7.0, "b": -float(step)}, step=step)
            took.append(time.perf_counter() - before)
            if 100 <= step < 250:
                time.sleep(0.02)
    expected = [(step, step / 7.0) for step in range(300)]
    assert history(server, run.id, "a") == expected
    assert history(server, run.id, "b") == [(step, -float(step)) for step in range(300)]
    # One that waited would do so nearly each time that the server is away.
    assert sorted(took)[-10] < 2.0, "logging waited for the server"
    stored = stored_runs.find(run.id, uri=server.uri)
    assert (stored.status, stored.tags["while"]) == ("FINISHED", "away")
    assert stored_runs.download(stored, "laps/lap.txt", uri=server.uri).read_text() == "12.5 s"
    assert (stored_runs.download_driver(run.id, uri=server.uri) / "manifest.json").exists()
    (data,) = mlflow_store.client(server.uri).get_run(run.id).inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("set", "0123")
    assert data.dataset.source == '{"uri": "https://***@host/set"}'
    lines = [each.getMessage() for each in caplog.records]
    assert any("nobody answers there" in line and "runs/unsent" in line for line in lines)
    assert any("back" in line for line in lines)
    assert not Path("runs").exists()


def test_what_a_run_could_not_send_is_sent_later_and_twice_is_once(
    server: TrackingServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent twice as by a process that ends between the store's answer and its own note."""
    monkeypatch.setattr(logged_run, "_END_S", 1.0)
    monkeypatch.setattr(logged_run, "_FLUSH_S", 60.0)
    Path("driver").mkdir()
    Path("driver", "manifest.json").write_text("{}")
    with tracking.start("ends while away", uri=server.uri) as run:
        run.log_metrics({"a": 1.0}, step=1)
        run.flush()
        server.stop()
        run.log_metrics({"a": 2.0}, step=2)
        run.log_driver("driver", OBSERVATION, ACTION)
        run.log_input("set", "/data", "0123")
    (folder,) = spool.found(spool.PLACE)
    assert f"{run.id} could not send is kept in {folder.resolve()} (entries: 4)" in caplog.text
    assert "donkey-rl runs send" in caplog.text
    with pytest.raises(StoreAwayError, match=r"could not be opened: nobody answers there"):
        mlflow_store.client(server.uri.replace("127.0.0.1", "localhost"))
    (kept,) = leftovers.send(server.uri)
    assert (kept.sent, kept.waiting) == (0, 4)
    shutil.copytree(spool.PLACE, "again")
    server.start()
    # The store has another name by now, which is no other store.
    for place, uri in ((spool.PLACE, f"{server.uri}/"), (Path("again"), server.uri)):
        (sent,) = leftovers.send(uri, place)
        assert (sent.sent, sent.waiting, sent.refused) == (4, 0, 0)
        assert leftovers.send(server.uri, place) == ()
    assert history(server, run.id, "a") == [(1, 1.0), (2, 2.0)]
    assert stored_runs.find(run.id, uri=server.uri).status == "FINISHED"
    stored = mlflow_store.client(server.uri).get_run(run.id)
    assert len(stored.outputs.model_outputs) == 1
    assert len(stored.inputs.dataset_inputs) == 1


WRITER = """
    import sys, time
    from donkey_rl.experiments import stored_runs, tracking
    run = tracking.start("killed", uri=sys.argv[1])
    run.log_metrics({"a": 0.0}, step=0)
    run.flush()
    print(run.id, flush=True)
    sys.stdin.readline()
    for step in range(1, 200):
        run.log_metrics({"a": float(step)}, step=step)
    run.flush()
    print("written", flush=True)
    time.sleep(60)
"""


def test_a_writer_that_is_killed_while_the_server_is_away_loses_nothing(
    server: TrackingServer,
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), server.uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    with writer:
        run_id = writer.stdout.readline().strip()
        server.stop()
        writer.stdin.write("go on\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "written\n"
        assert leftovers.send(server.uri) == (), "its writer still holds it"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    server.start()
    leftovers.send(server.uri)
    assert history(server, run_id, "a") == [(step, float(step)) for step in range(200)]
    assert stored_runs.find(run_id, uri=server.uri).status == "RUNNING"


LOGGER = """
    import sys
    from donkey_rl.experiments import stored_runs, tracking
    with tracking.start("worker " + sys.argv[2], uri=sys.argv[1]) as run:
        for step in range(400):
            run.log_metrics({f"m{k}": float(step * k) for k in range(5)}, step=step)
            if step % 20 == 0:
                run.set_tags({"step": step})
    print(run.id)
"""


def test_four_processes_log_to_one_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow_store.experiment_id(mlflow_store.client(uri), uri)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(LOGGER), uri, str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        for number in range(4)
    ]
    ids = [worker.communicate(timeout=300)[0].strip() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    # A worker that met a locked database for its last ten seconds leaves the rest to the next.
    leftovers.send(uri)
    client = mlflow_store.client(uri)
    for run_id in ids:
        points = client.get_metric_history(run_id, "m3")
        assert [(each.step, each.value) for each in points] == [(k, 3.0 * k) for k in range(400)]
    assert not spool.found(spool.PLACE)


def test_what_a_killed_process_kept_comes_before_what_its_successor_logs(
    server: TrackingServer,
) -> None:
    run = tracking.start("killed and taken over", uri=server.uri)
    run.set_tags({"driver": "first"})
    (folder,) = spool.found(spool.PLACE)
    about = spool.read_about(folder)
    run.end("KILLED")
    kept = spool.Spool.create(about, spool.PLACE)
    kept.append(Tags(values={"driver": "of the killed one"}))
    kept.close()
    with tracking.reopen(run.id, uri=server.uri) as again:
        again.set_tags({"driver": "of the successor"})
    leftovers.send(server.uri)
    assert stored_runs.find(run.id, uri=server.uri).tags["driver"] == "of the successor"


def test_a_refusal_just_before_the_end_does_not_leave_the_run_running(
    server: TrackingServer,
) -> None:
    def refused() -> None:
        with tracking.start("refused", params={"a": 1}, uri=server.uri) as begun:
            ids.append(begun.id)
            begun.flush()
            assert begun._sender is not None
            # The sender begins nothing meanwhile: the refusal comes afterwards.
            with begun._sender._state:
                begun.log_params({"a": 2})
            while not begun._sender.refusals:
                time.sleep(0.05)

    ids: list[str] = []
    with pytest.raises(StorageError, match="kept in"):
        refused()
    assert stored_runs.find(ids[0], uri=server.uri).status == "FINISHED"

"""The store of runs: where it is, and what is said where it cannot be opened."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys

import pytest

from donkey_rl import cli_completion
from donkey_rl.errors import InputError, StorageError, StoreAwayError
from donkey_rl.experiments import mlflow_store, stored_runs, tracking
from donkey_rl.experiments.logged_run import Run


def test_asking_for_a_run_creates_no_store(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"does not exist yet.*donkey-rl train"):
        stored_runs.find("abcd", uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []


def test_the_store_is_the_environments_or_the_folders(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert mlflow_store.tracking_uri() == f"sqlite:///{tmp_path.resolve().as_posix()}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert mlflow_store.tracking_uri() == "http://127.0.0.1:5000"
    assert mlflow_store.tracking_uri("sqlite:////runs.db").endswith("/runs.db")


@pytest.mark.parametrize("name", ["my%20project", "c?d", "e%41f", "100%"])
def test_a_folder_has_a_store_of_its_own_whatever_it_is_called(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name == "nt" and "?" in name:
        pytest.skip("Windows has no such names")
    (tmp_path / "my project").mkdir()
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with tracking.start("odd") as run:
        run.log_metrics({"a": 1.0}, 0)
    assert stored_runs.find("odd").id == run.id
    assert {each.name for each in tmp_path.iterdir()} == {"my project", name}
    assert not list((tmp_path / "my project").iterdir())
    assert (folder / "mlflow.db").stat().st_size > 0
    assert cli_completion.run(run.id[:6]) == [(run.id, "odd")]


@pytest.mark.parametrize("content", [b"no database at all, but some text" * 40, None])
def test_a_store_that_cannot_be_opened_is_one_line(
    tmp_path: pathlib.Path, content: bytes | None
) -> None:
    place = tmp_path / "place"
    place.write_bytes(content or b"a file where a folder should be")
    path = place if content else place / "mlflow.db"
    with pytest.raises(StorageError) as caught:
        tracking.start("never", uri=f"sqlite:///{path}")
    assert "cannot be written" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_store_is_prepared_beside_other_work(tmp_path: pathlib.Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    thread = mlflow_store.prepare_in_background(uri)
    with tracking.start("prepared", uri=uri) as run:
        pass
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert stored_runs.find("prepared", uri=uri).id == run.id


def test_processes_may_make_the_store_at_once(tmp_path: pathlib.Path) -> None:
    program = (
        "from donkey_rl.experiments import tracking\n"
        "with tracking.start('one of three') as run: run.log_metrics({'a': 1.0}, 0)"
    )
    ours = {"PYTHONPATH": str(pathlib.Path(__file__).parents[1]), "MLFLOW_TRACKING_URI": ""}
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, **ours},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = [each.communicate(timeout=240)[1] for each in begun]
    assert [each.returncode for each in begun] == [0, 0, 0], told
    found = stored_runs.every(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [each.status for each in found] == ["FINISHED"] * 3


def test_a_run_that_is_interrupted_as_it_is_made_does_not_run_for_ever(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(run: Run, params: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log_params", interrupted)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(KeyboardInterrupt):
        tracking.start("stopped", uri=uri)
    assert stored_runs.find("stopped", uri=uri).status == "KILLED"


def test_many_workers_may_begin_at_once(tmp_path: pathlib.Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow_store.client(uri)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda k: tracking.start(f"worker {k}", uri=uri), range(8)))
    for run in runs:
        run.end()
    assert len({run.id for run in runs}) == 8
    assert stored_runs.find("worker 7", uri=uri).id == runs[7].id


def test_a_store_that_cannot_be_prepared_is_reported_by_who_needs_it(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "file").write_text("no folder")
    uri = f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}"
    mlflow_store.prepare_in_background(uri).join(timeout=60)
    with pytest.raises(StorageError, match="cannot be written"):
        tracking.start("never", uri=uri)


def test_a_store_that_somebody_holds_is_away_and_not_to_be_moved(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.1))
    with contextlib.closing(connect(tmp_path / "mlflow.db")) as other:
        other.execute("CREATE TABLE held (x)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreAwayError, match=r"locked by another process\. Try again"):
            mlflow_store.client(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.mark.parametrize(
    ("told", "remedy"),
    [
        ("database is locked", "Try again"),
        ("database or disk is full", "Try again"),
        ("Detected out-of-date database schema. Run 'mlflow db upgrade'", "Take the MLflow"),
        ("duplicate column name: x", "Move mlflow.db away"),
        ("Can't locate revision identified by 'abc'", "Move mlflow.db away"),
    ],
)
def test_what_helps_a_store_that_cannot_be_opened(told: str, remedy: str) -> None:
    said = mlflow_store._mended(pathlib.Path("mlflow.db"), StoreAwayError(told))
    assert said.startswith(remedy)

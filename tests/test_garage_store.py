"""Drivers of the run store at race time: fetched, kept, and raced when the store is away."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from donkey_rl.envs import batch
from donkey_rl.errors import DriverError, InputError, StorageError
from donkey_rl.experiments import registration, tracking
from donkey_rl.race_server import garage
from donkey_rl.race_server.garage import references
from tests import new_stores
from tests.test_driver import make, space

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A store with one driver, registered: its address and the run."""
    base = tmp_path_factory.mktemp("store")
    uri = new_stores.make(base)
    make()[0].save(base / "driver")
    with tracking.start("a driver", uri=uri) as run:
        run.log_driver(base / "driver", space(), batch.action_space())
    registration.register(run.id, uri=uri)
    return uri, run.id


@pytest.fixture
def kept(store: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that keeps drivers, once both references were fetched."""
    uri, run_id = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    folder = tmp_path / "races" / garage.KEPT
    for reference in (run_id, "models:/donkey-driver@race"):
        assert references.find(reference, folder).warning == ""
    return folder


def test_runs_and_models_are_named_for_people(
    store: tuple[str, str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    # A start on the evening: nobody answers, and both drivers are there.
    seat = garage.open_seat(["models:/donkey-driver@race", run_id], kept)
    seat.close()
    assert seat.names == ("donkey-driver@race", f"run {run_id[:8]}")
    assert seat.hash == make()[0].hash
    assert len(seat.warnings) == 2
    assert "is raced as it was kept" in seat.warnings[0]
    assert "127.0.0.1:1" in seat.warnings[0]


def test_a_kept_driver_that_was_changed_is_refused(
    store: tuple[str, str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    (place,) = kept.glob(f"{run_id}*")
    model = place / "driver" / "driver.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(DriverError, match="was changed or cut short"):
        garage.open_seat([run_id], kept)
    # Another whole driver in its place is none of this run's.
    shutil.rmtree(place / "driver")
    make(seed=5)[0].save(place / "driver")
    with pytest.raises(DriverError, match="Delete that folder"):
        garage.open_seat([run_id], kept)
    (place / "origin.json").write_text(json.dumps({"reference": 1}))
    with pytest.raises(StorageError, match="Delete that folder"):
        garage.open_seat([run_id], kept)


def test_what_was_never_fetched_is_said(
    store: tuple[str, str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = store
    with pytest.raises(InputError, match="Unknown alias"):
        garage.open_seat(["models:/donkey-driver@rice"], kept)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:1"):
        garage.open_seat(["0123456789abcdef"], kept)
    # A spare is worth a warning: better a race without it than none.
    seat = garage.open_seat([run_id, "0123456789abcdef"], kept)
    seat.close()
    assert seat.names == (f"run {run_id[:8]}",)
    assert any("Without the spare 0123456789abcdef" in each for each in seat.warnings)


def test_a_store_that_hangs_costs_one_wait_for_all_drivers(
    store: tuple[str, str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = store
    monkeypatch.setattr(references, "_FETCH_S", 0.3)
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes connections, and never answers.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        kept_as_before = references._keep
        monkeypatch.setattr(
            references, "_keep", lambda *words: (asked.append(words[0]), kept_as_before(*words))
        )
        seat = garage.open_seat([run_id, "models:/donkey-driver@race"], kept)
        seat.close()
    assert asked == [run_id]
    assert "did not answer in time" in seat.warnings[0]
    assert "does not answer" in seat.warnings[1]

"""Data sets over SFTP and on an MLflow server, both real and on loopback."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator

import paramiko
import pytest

from donkey_rl.agents import folders
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments.data import checking, splitting, transfers
from donkey_rl.experiments.data.backends import MLFLOW, TransferError
from donkey_rl.experiments.data.store import Store, open_store
from tests import data_sets, sftp_server, tracking_server
from tests.data_sets import NOTE, pull, push, quiet, races


def knows(home: pathlib.Path, port: int, key: paramiko.PKey) -> None:
    """Writes a host's key where ssh keeps those that are known."""
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    line = f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"
    (home / ".ssh" / "known_hosts").write_text(line)


def test_sftp(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("donkey_rl.experiments.data.sftp._PATIENCE_S", 60.0)
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    with sftp_server.serving(root) as (port, key):
        at = f"127.0.0.1:{port}/srv/data"
        address = f"sftp://{sftp_server.USER}:{sftp_server.PASSWORD}@{at}"
        with pytest.raises(StorageError, match=r"The key of 127.0.0.1:\d+ is not known"):
            open_store(address)
        knows(tmp_path / "home", port, key)
        with pytest.raises(StorageError, match="refused user and password") as caught:
            open_store(address.replace(sftp_server.PASSWORD, "another-word"))
        assert "another-word" not in str(caught.value)
        with pytest.raises(StorageError, match=r"ann:\*\*\*@127.0.0.1:1/srv.* cannot be reached"):
            open_store(address.replace(f":{port}/", ":1/"))
        store = open_store(address)
        assert store.shown == f"sftp://{sftp_server.USER}:***@{at}"
        goes_round(store, tmp_path)
        assert list((root / "srv" / "data" / "incoming").iterdir()) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with tracking_server.serving(tmp_path_factory.mktemp("mlflow")) as running:
        yield running.uri


@pytest.mark.slow
def test_mlflow_server(
    server: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    goes_round(open_store(MLFLOW), tmp_path)
    # The same server by its own address, at another place in it.
    other = open_store(server.replace("http:", "mlflow-artifacts:") + "/elsewhere")
    assert other.names() == []
    assert other.shown.endswith("/elsewhere")
    content = os.urandom(3_000_000)
    (tmp_path / "large").write_bytes(content)
    other.backend.upload(tmp_path / "large", "objects/large", folders.sha256(tmp_path / "large"))
    assert other.backend.size("objects/large") == 3_000_000
    assert b"".join(other.backend.chunks("objects/large", 2_000_001)) == content[2_000_001:]
    with pytest.raises(TransferError, match="did not arrive"):
        other.backend.upload(tmp_path / "large", "objects/large", "0" * 64)
    with pytest.raises(FileNotFoundError):
        list(other.backend.chunks("objects/none"))
    with pytest.raises(InputError, match="more than 10 bytes"):
        other.backend.read("objects/large", 10)


@pytest.mark.slow
def test_two_processes_push_to_an_mlflow_server_at_once(
    server: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    folders = [races(tmp_path / name, range(k, k + 4)) for k, name in ((0, "a"), (2, "b"))]
    words = ("--name", "together", "--store", MLFLOW, "--json")
    running = [
        data_sets.started("data", "push", str(folder), *words, cwd=tmp_path) for folder in folders
    ]
    for process in running:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert json.loads(out)["left_out"] == []
    store = open_store(MLFLOW)
    assert len(store.dataset("together").races) == 6
    assert checking.verify(store, ["together"], None, quiet()).problems == ()


def test_a_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(StorageError, match="needs the server's address"):
        open_store("mlflow-artifacts:/data")


@pytest.mark.slow
def test_the_run_store_of_a_folder_holds_data_sets_too(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs of mine.db")
    store = open_store(MLFLOW)
    push(store, races(tmp_path / "races", [0]))
    assert store.shown == str(tmp_path / "mlartifacts" / "donkey-rl-data")
    assert open_store(MLFLOW).names() == ["evenings"]


def goes_round(store: Store, tmp_path: pathlib.Path) -> None:
    """Pushes, pulls, splits, verifies, and mends what was cut off."""
    here = races(tmp_path / "races", range(6))
    report = push(store, here)
    assert (report.added, report.left_out) == (6, ())
    assert push(store, here).sent_bytes == 0
    assert store.names() == ["evenings"]
    found, count = store.split("evenings", splitting.check_shares([1, 1, 0]), 0, NOTE, quiet())
    assert count == 6
    assert pull(store, tmp_path / "there").problems == ()
    assert data_sets.contents(tmp_path / "there") == data_sets.contents(here)
    assert store.dataset("evenings", report.version).parts == {}
    # A file that was cut off on its way is sent again.
    path = transfers.object_path(found.files[0].sha256)
    (tmp_path / "cut").write_bytes(b"cut off")
    store.backend.upload(tmp_path / "cut", path, folders.sha256(tmp_path / "cut"))
    verdict = checking.verify(store, [], None, quiet())
    assert len(verdict.problems) == 1
    assert push(store, here).added == 0
    mended = store.push([here], "again", NOTE, quiet())
    assert mended.sent_bytes == found.files[0].bytes
    assert checking.verify(store, [], None, quiet()).problems == ()

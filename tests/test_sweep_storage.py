"""Storages: what is refused, what is mended, and that no password is ever shown."""

from __future__ import annotations

import contextlib
import json
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from donkey_rl.errors import DonkeyRLError, InputError, StorageError
from donkey_rl.experiments.sweeps import relational, storage
from donkey_rl.experiments.sweeps.attempt import Attempt
from donkey_rl.experiments.sweeps.queue import Queue
from donkey_rl.experiments.sweeps.shared_storage import MutexLostError, StorageAwayError
from tests import postgres

SECRET = "s3cr:t/%40"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.running() as found:
        yield found


def study_in(url: str, name: str = "s") -> optuna.Study:
    opened = storage.open_storage(url)
    return optuna.create_study(storage=opened, study_name=name, load_if_exists=True)


@pytest.mark.parametrize(
    ("url", "kind", "says"),
    [
        ("postgresql://anna:s3cr%3At@127.0.0.1:1/x", StorageError, "Connection refused"),
        ("postgresql://anna:s3cr%3At@nowhere.invalid/x", StorageError, "resolve|not known"),
        ("postgresql://anna:s3cr:t@127.0.0.1:port/x", InputError, "cannot be read"),
        ("mysql://anna:s3cr%3At@server/x", InputError, "Expected the path of a journal"),
        ("anna:s3cr:t@server/x", InputError, "Expected the path of a journal"),
        ("study.db", InputError, "Expected the path of a journal"),
        ("journal:///", InputError, "names no file"),
        ("sqlite://", InputError, "names no file"),
        ("/proc/none/study.journal", StorageError, "/proc/none/study.journal"),
        ("sqlite:////proc/none/study.db", StorageError, "/proc/none"),
    ],
)
def test_what_cannot_be_used_is_one_line_without_the_password(
    url: str, kind: type[DonkeyRLError], says: str
) -> None:
    began = time.monotonic()
    with pytest.raises(kind, match=says) as raised:
        storage.open_storage(url)
    assert "s3cr" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert time.monotonic() - began < 100.0


def test_wrong_password_and_database(server: postgres.Server) -> None:
    with pytest.raises(InputError, match="password authentication failed") as raised:
        storage.open_storage(server.url("postgres", password=SECRET))
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None
    with pytest.raises(InputError, match='database "none" does not exist') as raised:
        storage.open_storage(server.url("none"))
    assert server.password not in str(raised.value)


def test_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relational.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "donkey-rl\[cluster\]"'):
        storage.open_storage("postgresql://server/x")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sweeps/sac.journal", "sweeps/sac.journal"),
        ("journal:///tmp/a b.log", "/tmp/a b.log"),
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("postgres://a:b@h/d", "postgresql+psycopg://a:***@h/d"),
        ("postgresql+psycopg2://a:b@h:5/d", "postgresql+psycopg2://a:***@h:5/d"),
        ("postgresql://h/d?user=a&password=b", "postgresql+psycopg://h/d?password=***&user=a"),
    ],
)
def test_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert storage.shown(url) == shown


def test_address_that_cannot_be_read_is_not_shown() -> None:
    assert storage.shown("postgresql://anna:s3cr:t@h:port/x") == "postgresql://***"
    assert storage.shown("anna:s3cr:t@server/x") == "***"


def test_default_is_a_journal_named_like_the_study() -> None:
    assert storage.default("night 1") == "sweeps/night 1.journal"
    with pytest.raises(InputError, match="no slash"):
        storage.default("../night")


def test_sqlite_takes_one_worker(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with pytest.raises(InputError, match="SQLite takes one worker, received: 2"):
        storage.open_storage(url, workers=2)
    first, second = storage.open_storage(url), storage.open_storage(url)
    with first.admitted(), pytest.raises(InputError, match="one works on"), second.admitted():
        pass
    with second.admitted():
        pass


def test_half_a_line_of_a_killed_writer_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = study_in(str(path))
    study.add_trial(optuna.create_trial(value=1.0))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker_id":"' + b"x" * 10_000)
    for opened in (study, study_in(str(path), "another")):
        opened.add_trial(optuna.create_trial(value=2.0))
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in path.read_text().splitlines())
    assert [trial.value for trial in study_in(str(path)).trials] == [1.0, 2.0]


def test_damaged_line_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study_in(str(path)).add_trial(optuna.create_trial(value=1.0))
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\0\0\n" + b"".join(rest))
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"Line 2 of the journal .* the 1 lines before"):
        storage.open_storage(str(path))
    assert path.read_bytes() == before


def test_full_disk_is_said_and_what_was_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = study_in(str(path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, limits[1]))
    try:
        with pytest.raises(StorageError, match="All that it holds is kept"):
            study.add_trial(optuna.create_trial(value=1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    study.add_trial(optuna.create_trial(value=2.0))
    assert [trial.value for trial in study_in(str(path)).trials] == [2.0]


@pytest.mark.parametrize("kind", ["journal", "sqlite", "postgresql"])
def test_one_at_a_time_is_in_the_section(
    kind: str, tmp_path: Path, server: postgres.Server
) -> None:
    places = {"journal": str(tmp_path / "s.journal"), "sqlite": f"sqlite:///{tmp_path / 's.db'}"}
    url = places.get(kind) or server.database()
    inside: list[int] = []
    most = []

    def enter(number: int) -> None:
        opened = storage.open_storage(url)
        for _ in range(5):
            with opened.exclusive() as still_mine:
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.005)
                still_mine()
                inside.remove(number)

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 15


def test_server_that_is_away_is_waited_for(server: postgres.Server) -> None:
    said: list[str] = []
    opened = storage.open_storage(server.database(), said.append)
    study = optuna.create_study(storage=opened, study_name="s")
    queue = Queue(study, opened, 1)
    attempt = queue.look()
    assert isinstance(attempt, Attempt)

    def start_again() -> None:
        while opened.outages < 3:
            time.sleep(0.01)
        server.start()

    with attempt:
        server.stop()
        with pytest.raises(StorageAwayError):
            opened.beat(attempt.trial_id, "lease", {})
        with pytest.raises(StorageAwayError):
            study.add_trial(optuna.create_trial(value=1.0))
        back = threading.Thread(target=start_again)
        back.start()
        attempt.report(0.5, 1)
        attempt.complete(1.0)
        back.join()
    assert opened.outages >= 3
    assert [trial.value for trial in study.trials] == [1.0]
    assert "is away: " in said[0]
    assert said[-1].startswith("the storage is back after ")
    assert not any(server.password in line for line in said)


def test_section_that_the_server_took_away_is_noticed(
    server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.database()
    opened, other = storage.open_storage(url), storage.open_storage(url)
    with opened.exclusive() as still_mine:
        still_mine()
    monkeypatch.setattr(relational, "SECTION_S", 0.2)
    with contextlib.ExitStack() as section:
        still_mine = section.enter_context(opened.exclusive())
        # The other comes in once the server has taken it from who stands still.
        with other.exclusive(), pytest.raises(MutexLostError):
            still_mine()

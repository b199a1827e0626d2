"""The files, folders and stored runs that wrong command lines name."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import sqlite3

from donkey_rl.agents import manifest
from donkey_rl.agents.manifest import FileEntry, Manifest, ObservationSpec
from donkey_rl.experiments import beginning, mlflow_store, resuming
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.run_folder import RunFolder
from tests import small_drivers

TEXTS = {
    "empty.json": "",
    "empty.yaml": "",
    "empty.csv": "",
    "empty.parquet": "",
    "truncated.json": '{"name": "club", "nodes": [[0.0, 0.0',
    "list.json": "[1, 2]",
    "list.yaml": "- steps\n- seed\n",
    "tabs.yaml": "sac:\n\tgamma: 0.9\n",
    "twice.yaml": "steps: 5\nsteps: 6\n",
    "typo.yaml": "sac:\n  gama: 0.9\n",
    "notes.txt": "buy batteries\n",
    "words.csv": "late,very late\n",
    "negative.csv": "ms\n-20\n-30\n",
    "space_typo.yaml": "sac.gama: {low: 0.9, high: 0.99}\n",
    "space_backwards.yaml": "sac.gamma: {low: 0.99, high: 0.9}\n",
    "rules_typo.yaml": "lapps: 3\n",
    "race.yaml": "host: 127.0.0.1\n",
    "race_typo.yaml": "hots: 127.0.0.1\n",
    "race_port.yaml": "port: ninety\n",
    "foreign.html": "<p>a page of somebody else</p>\n",
    "own.py": "class Driver:\n    pass\n\n\ndef plain(race):\n    return 1.0\n",
    "syntax.py": "def f(:\n",
    "raises.py": "raise RuntimeError('no such file on my disk')\n",
    "damaged_tub/manifest.json": '["image/array", "user/angle"\n',
    "damaged_driver/manifest.json": '{"format": 1, "hash": ',
    "number_driver/manifest.json": "1\n",
    "newer_record/record-00001.jsonl": '{"format": 99}\n',
    "damaged-lap/settings": "",
}
BINARY = ("binary.json", "binary.yaml", "binary.csv", "binary.parquet")
RUNS = {"123e" + 28 * "a": "slow-lap", "123e" + 28 * "b": "fast-lap"}
"""Finished, without a driver; their ids begin alike."""

ENDED = {"7c" + 30 * "1": "newer-lap", "8d" + 30 * "1": "lost-lap", "9e" + 30 * "1": "damaged-lap"}
"""Ended early; the folders of their checkpoints are called like them, where there are any."""


def make(folder: pathlib.Path) -> None:
    """Makes all of them in a folder, the run store as its mlflow.db."""
    for name, text in TEXTS.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in BINARY:
        (folder / name).write_bytes(bytes(range(256)) * 8)
    for name in ("empty_folder", "folder.yaml", "folder.json"):
        (folder / name).mkdir()
    with open(folder / "huge.yaml", "wb") as huge:
        huge.truncate(50_000_000)
    os.symlink("loop.yaml", folder / "loop.yaml")
    _drivers(folder)
    _runs(folder / "mlflow.db")


def _drivers(folder: pathlib.Path) -> None:
    """Writes driver folders that are sound but for one thing."""
    weights = b"weights"
    whole = Manifest(
        format=1,
        hash=64 * "0",
        created=datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC),
        encoder="lane",
        observation=ObservationSpec(
            image_shape=small_drivers.SHAPE,
            history=small_drivers.HISTORY,
            scaling=small_drivers.SCALING,
        ),
        description=small_drivers.description(),
        versions={},
        files={"policy.weights": FileEntry(sha256=64 * "0", size=len(weights))},
    )
    for name in ("hollow_driver", "changed_driver", "newer_driver"):
        (folder / name).mkdir()
        manifest.write(folder / name, whole)
    (folder / "changed_driver" / "policy.weights").write_bytes(weights)
    newer = folder / "newer_driver" / manifest.FILE_NAME
    newer.write_text(json.dumps({**json.loads(newer.read_text()), "format": 99}))


def _runs(database: pathlib.Path) -> None:
    """Makes runs without a driver: MLflow chooses their ids, which are replaced by ours."""
    folder = database.parent
    begun = beginning.of(TrainingConfig())
    newer = begun.model_copy(update={"versions": {**begun.versions, "donkey-rl": "99.0"}})
    RunFolder(folder / "newer-lap").keep_settings(newer.model_dump())
    uri = f"sqlite:///{database}"
    store = mlflow_store.client(uri)
    experiment = mlflow_store.experiment_id(store, uri)
    made = {}
    for run_id, name in (RUNS | ENDED).items():
        tags = {resuming.PLACE_TAG: str(folder / name)} if run_id in ENDED else {}
        run = store.create_run(experiment, run_name=name, tags=tags)
        store.set_terminated(run.info.run_id, "KILLED" if run_id in ENDED else "FINISHED")
        made[run.info.run_id] = run_id
    with sqlite3.connect(database) as connection:
        for old, new in made.items():
            for table in ("runs", "tags"):
                connection.execute(
                    f"UPDATE {table} SET run_uuid = ? WHERE run_uuid = ?",
                    (new, old),
                )
    connection.close()

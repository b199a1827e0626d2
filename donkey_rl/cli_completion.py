"""What a shell completes: names that are found without importing anything heavy.

Each function takes what was typed so far and returns the values that begin so, some with a help
text. What cannot be read is completed by nothing: a shell is no place for errors.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote

_MOST_RUNS = 100
_SQLITE = "sqlite:///"
_RUNS = "SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time DESC"


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Returns what completes one of a few values.

    >>> one_of("sac", "ppo")("s")
    ['sac']
    """

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def track(incomplete: str) -> list[str]:
    """Completes the name of a track, or a path."""
    drawn = ("random_circuit", "tight_circuit")
    return _begun([*_stems("envs", "simulator/tracks", ".json"), *drawn], incomplete)


def tracks(incomplete: str) -> list[str]:
    """Completes the last of several tracks with commas."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in track(last)]


def recipe(incomplete: str) -> list[str]:
    """Completes the name of a recipe of this package."""
    from donkey_rl.configuration import RECIPE_ALIASES

    return _begun([*_stems("experiments", "recipes", ".yaml"), *RECIPE_ALIASES], incomplete)


def run(incomplete: str) -> list[tuple[str, str]]:
    """Completes the id of a run, with its name, or a name; only of a store that is a file."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    file = Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0]))
    if not uri.startswith(_SQLITE) or not file.is_file():
        return []
    found: list[tuple[str, str]] = []
    with (
        contextlib.suppress(sqlite3.Error, OSError),
        contextlib.closing(
            sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
        ) as store,
    ):
        found = [(str(run_id), str(name or "")) for run_id, name in store.execute(_RUNS)]
    begun = [(run_id, name) for run_id, name in found if run_id.startswith(incomplete)]
    begun += [
        (name, run_id[:8]) for run_id, name in found if incomplete and name.startswith(incomplete)
    ]
    return begun[:_MOST_RUNS]


def driver(incomplete: str) -> list[tuple[str, str]]:
    """Completes who drives: a run, the expert or an untrained driver."""
    known = [("pursuit", "the expert"), ("untrained", "a driver that has learned nothing")]
    return [each for each in known if each[0].startswith(incomplete)] + run(incomplete)


def _stems(package: str, folder: str, suffix: str) -> Sequence[str]:
    """Returns the names of data files of a package, which is not imported for it."""
    spec = importlib.util.find_spec(f"donkey_rl.{package}")
    places = spec.submodule_search_locations if spec is not None else None
    with contextlib.suppress(OSError):
        found = (file for place in places or () for file in Path(place, folder).iterdir())
        return sorted(file.stem for file in found if file.suffix == suffix)
    return ()


def _begun(names: Sequence[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]

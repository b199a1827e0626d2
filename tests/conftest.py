"""What every test needs before anything heavy is imported."""

from __future__ import annotations

import functools
import os
import pathlib
import signal
from collections.abc import Callable
from typing import Any

import pytest

# No window for plots.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Warnings are errors (pyproject.toml); these come from inside other packages.
FOREIGN_WARNINGS = (
    # mlflow.pyfunc warns about its own type hints when it is imported.
    "ignore:.*Any type hint is inferred as AnyType:UserWarning:mlflow",
)


@pytest.fixture
def own_store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command runs in a folder of its own, which holds its store."""
    from tests import new_stores

    new_stores.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def coarse_scenes() -> Callable[[Any], Any]:
    """Bakes scenes that are kept apart from those that all worlds of a process share."""
    from donkey_rl.envs.simulator import scene

    return functools.lru_cache(maxsize=4)(scene._bake.__wrapped__)


@pytest.fixture
def coarse_ground(monkeypatch: pytest.MonkeyPatch, coarse_scenes: Callable[[Any], Any]) -> None:
    """A ground that is soon painted, for who looks at no image or compares images only."""
    from donkey_rl.envs.simulator import ground, scene

    monkeypatch.setattr(ground, "_MOST_TEXELS", 2e5)
    monkeypatch.setattr(scene, "bake", coarse_scenes)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow a simulator in lock-step is, what it answers is waited for."""
    from donkey_rl.envs import link_source
    from donkey_rl.envs.link import life_cycle, session

    monkeypatch.setattr(life_cycle, "_ANSWER_S", 20.0)
    monkeypatch.setattr(session, "_NUDGE_S", 20.0)
    monkeypatch.setattr(link_source, "_UNASKED_S", 20.0)


def pytest_configure(config: pytest.Config) -> None:
    for warning in FOREIGN_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first: no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than cores: many tests wait for servers, clocks and simulators."""
    from donkey_rl import cores

    return len(cores.usable()) + 1

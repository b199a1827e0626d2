"""What a race or a run was made with: versions, machine, commit."""

from __future__ import annotations

import functools
import getpass
import platform
import subprocess
from importlib import metadata

from donkey_rl.agents import manifest
from donkey_rl.experiments.config import TrainingConfig

_PACKAGES = ("ai-edge-litert", "numba", "pillow")
"""Beside those that a driver depends on: they move cars, decode pictures and carry drivers."""


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of Python and of packages, and the kind of processor, by name."""
    found = manifest.installed_versions() | {n: metadata.version(n) for n in _PACKAGES}
    return {"python": platform.python_version(), "machine": platform.machine(), **found}


_GIT_S = 5.0


def tags(config: TrainingConfig) -> dict[str, object]:
    """Returns what a training's run is found by: its kind, the versions, the machine's name.

    Args:
        config: What the training is told.
    """
    kind = {name: getattr(config, name) for name in ("agent", "track", "vehicle", "seed")}
    found = {f"version.{name}": version for name, version in versions().items()}
    del found["version.machine"]
    return kind | found | {"host": platform.node()}


@functools.cache
def source_tags() -> dict[str, str]:
    """Returns what MLflow's pages show of where a run comes from.

    That is who started it, and the commit of the current folder with the mark whether files were
    changed since, where it is one of a git repository.
    """
    found = {"mlflow.source.name": "donkey-rl", "mlflow.source.type": "LOCAL"}
    try:
        found["mlflow.user"] = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A user without a name, as in some containers; of Windows Python looks for `pwd` then.
        found["mlflow.user"] = "unknown"
    commit = _git("rev-parse", "HEAD")
    if commit:
        changed = _git("status", "--porcelain", "--untracked-files=no")
        found["mlflow.source.git.commit"] = commit
        found["mlflow.source.git.branch"] = _git("rev-parse", "--abbrev-ref", "HEAD") or ""
        found["mlflow.source.git.dirty"] = str(bool(changed)).lower()
    return found


def _git(*words: str) -> str | None:
    """Returns what git answers in the current folder, None without git or a repository."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

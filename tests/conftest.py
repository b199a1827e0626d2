"""What every test needs before anything heavy is imported."""

from __future__ import annotations

import os

import pytest

# No window for plots.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Warnings are errors (pyproject.toml); these come from inside other packages.
FOREIGN_WARNINGS = (
    # mlflow.pyfunc warns about its own type hints when it is imported.
    "ignore:.*Any type hint is inferred as AnyType:UserWarning:mlflow",
)


def pytest_configure(config: pytest.Config) -> None:
    for warning in FOREIGN_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)

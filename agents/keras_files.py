"""Keras models on disk, written and read without pickles.

Keras converts variables in a way that NumPy 2 calls deprecated; the warning is silenced here, at
the calls that cause it, so that nobody else has to.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from donkey_rl.agents.tensorflow_setup import keras

LARGEST_MODEL = 500_000_000
"""Bytes of a ``.keras`` file that is read: hundreds of times a usual driver's."""


@contextlib.contextmanager
def without_copy_warning() -> Iterator[None]:
    """Silences that warning, also where code of others trains a model."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield


def save_model(model: Any, path: Path) -> None:
    """Writes a model with its architecture, as a ``.keras`` file."""
    with without_copy_warning():
        model.save(path)


def load_model(path: Path) -> Any:
    """Reads a ``.keras`` file for inference; refuses code hidden in it (``safe_mode``).

    Raises:
        ValueError: When the file is larger than a driver's may be, or holds a model that was
            never given an input.
    """
    if path.stat().st_size > LARGEST_MODEL:
        raise ValueError(f"a file of {path.stat().st_size:,} bytes, {LARGEST_MODEL:,} at most")
    with without_copy_warning():
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if not isinstance(getattr(model, "input_shape", None), tuple):
        raise ValueError("a model that was never given an input")
    return model


def save_weights(model: Any, path: Path) -> None:
    """Writes the weights alone, as a ``.weights.h5`` file."""
    with without_copy_warning():
        model.save_weights(path)


def load_weights(model: Any, path: Path) -> None:
    """Reads a ``.weights.h5`` file into a model of the same architecture."""
    with without_copy_warning():
        model.load_weights(path)

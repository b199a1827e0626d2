"""Functions and classes of the user's own, taken from a Python file as ``PATH.py:NAME``."""

from __future__ import annotations

import hashlib
import importlib.util
import pathlib
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from donkey_rl import user_paths
from donkey_rl.errors import InputError, UnknownNameError

MOST_BYTES = 1_000_000
"""A larger file is refused: it is no code that a person wrote."""


class Taken(NamedTuple):
    """What a reference means.

    Attributes:
        path: The file.
        name: The name in it.
        value: The function or class of that name.
    """

    path: pathlib.Path
    name: str
    value: Callable[..., Any]


def parse(reference: str, kind: str) -> tuple[pathlib.Path, str]:
    """Returns the file and the name that a reference means; nothing is run.

    Args:
        reference: ``"path.py:name"``.
        kind: What the name stands for, such as ``"metric"``.

    Raises:
        InputError: It is no such reference, or there is no such file.
    """
    file, _, name = reference.rpartition(":")
    path = user_paths.path_of(file)
    if path.suffix != ".py" or not name.isidentifier():
        article = "An" if kind[0] in "aeiou" else "A"
        raise InputError(
            f"{article} {kind} of a file is given as PATH.py:NAME. Received: '{reference}'."
        )
    if not path.is_file():
        raise InputError(f"There is no file '{path}'. Check the path.")
    return path, name


def run(path: pathlib.Path) -> ModuleType:
    """Runs a user's file, with the user's rights, as a module of its own.

    Raises:
        InputError: It is too large, or cannot be imported; the message has the line.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise InputError(
            f"A file of Python holds at most {MOST_BYTES} bytes. Received: '{path}' of {size}."
        )
    source = path.absolute()
    name = f"_donkey_rl_own_{hashlib.sha256(str(source).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, source)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be imported as Python. Check the file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(
            f"{path} could not be imported: {describe(error, str(path))}. Mend the file."
        ) from error
    return module


def take(reference: str, kind: str, remedy: str) -> Taken:
    """Runs a user's file, with the user's rights, and returns what a reference means of it.

    Args:
        reference: ``"path.py:name"``.
        kind: What the name stands for, such as ``"reward"``.
        remedy: What to do where the file has no function or class of that name.

    Raises:
        InputError: The file is missing, cannot be imported, or has none of that name.
    """
    path, name = parse(reference, kind)
    module = run(path)
    value = getattr(module, name, None)
    if not callable(value):
        unknown = UnknownNameError(kind, name, defined(module), remedy=remedy)
        raise InputError(f"{path}: {unknown}")
    return Taken(path, name, value)


def defined(module: ModuleType) -> list[str]:
    """Returns the names of the functions and classes that a user's module defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]


def describe(error: BaseException, source: str) -> str:
    """Returns what a user's code has raised, with its line in that file where it is known.

    Args:
        error: What was raised.
        source: Path of the file.
    """
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if pathlib.Path(frame.filename) == pathlib.Path(source).absolute()
    ]
    return f"line {lines[-1]}: {text}" if lines else text

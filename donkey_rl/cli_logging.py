"""What the package logs, on standard error: from warnings on, or as DONKEY_RL_LOG says."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator

import typer

from donkey_rl.errors import UnknownNameError

VARIABLE = "DONKEY_RL_LOG"
LEVELS = ("debug", "info", "warning", "error")

_ROOT = "donkey_rl"


class _StandardError(logging.Handler):
    """Writes one line for each record to what is standard error by then."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = " ".join(record.getMessage().split())
            when = time.strftime("%H:%M:%S", time.localtime(record.created))
            named = record.levelno >= logging.WARNING or record.levelno < logging.INFO
            level = f"{record.levelname.lower()}: " if named else ""
            typer.echo(f"{when} {level}{text}", err=True)
        except Exception:
            self.handleError(record)


def set_up() -> None:
    """Shows what this package logs, from the level on that DONKEY_RL_LOG names.

    Raises:
        UnknownNameError: It names none.
    """
    name = os.environ.get(VARIABLE, "").strip().lower() or "warning"
    if name not in LEVELS:
        raise UnknownNameError(f"{VARIABLE}, a level of logs,", name, LEVELS)
    logger = logging.getLogger(_ROOT)
    logger.setLevel(name.upper())
    if not any(isinstance(each, _StandardError) for each in logger.handlers):
        logger.addHandler(_StandardError())


@contextlib.contextmanager
def at_least_info(part: str) -> Iterator[None]:
    """Shows what a part of the package tells beside warnings, unless DONKEY_RL_LOG says else.

    Args:
        part: Name of its logger, such as `"donkey_rl.serving"`.
    """
    logger = logging.getLogger(part)
    before = logger.level
    if not os.environ.get(VARIABLE):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)

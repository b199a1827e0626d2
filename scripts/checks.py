"""What the checks of a release share: where the project is, and how they end."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable

ROOT = pathlib.Path(__file__).parents[1]

LOGGER = logging.getLogger("checks")


class CheckError(Exception):
    """Something is not as it must be."""


def exit_code(check: Callable[[], object]) -> int:
    """Runs a check; returns 0, or 1 after a line that says what is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        check()
    except CheckError as error:
        LOGGER.error("error: %s", error)
        return 1
    return 0

"""Drivers at race time: found, looked at, loaded, warmed up, and asked with a deadline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.errors import StorageError
from donkey_rl.race_server.garage import checks, references
from donkey_rl.race_server.garage.checks import Fit
from donkey_rl.race_server.garage.seat import DriverSeat

__all__ = ["KEPT", "DriverSeat", "Fit", "open_seat"]

KEPT = "drivers"
"""Folder beside the records of races that keeps drivers of the run store."""


def open_seat(
    wanted: Sequence[str], kept: Path = Path("races", KEPT), fit: Fit | None = None
) -> DriverSeat:
    """Returns a seat with a driver and its spares, all of them loaded and warm.

    Args:
        wanted: What names each, see `references.find`; the first choice first, empty ones are
            passed over.
        kept: Folder that keeps drivers of the run store, so that the next start needs no store.
        fit: What they must fit; by default each other's car.

    Raises:
        InputError: There is no such driver.
        DriverError: One holds something that no driver folder holds, does not fit, or does not
            answer; or there is none.
        StorageError: The first choice can neither be fetched nor was it kept.
    """
    fit = fit or Fit()
    drivers: dict[str, LiteDriver] = {}
    warnings = [checks.scene_warning(fit.scene)]
    is_store_away = False
    for reference in filter(None, wanted):
        try:
            found = references.find(reference, kept, is_store_away=is_store_away)
        except StorageError as error:
            if not drivers:
                raise
            # Bad input is said before a race; a store that is away costs the spare alone.
            warnings.append(f"Without the spare {reference}: {error}")
            continue
        warnings.append(found.warning)
        is_store_away = is_store_away or found.is_store_away
        driver = checks.load(found.folder)
        fit = Fit(fit.generation or checks.generation(driver), fit.scene)
        name = _free(found.name, drivers)
        warnings += checks.check(name, driver, fit)
        drivers[name] = driver
    return DriverSeat(drivers, [warning for warning in warnings if warning])


def _free(name: str, taken: dict[str, LiteDriver]) -> str:
    """Returns the name, with a number behind it where it is taken."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free

"""The results file of a race evening: written whole or not at all, and checked when read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pydantic

from donkey_rl import moving
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import Evening, Stage
from donkey_rl.errors import InputError, StorageError

MOST_BYTES = 16_000_000
_MOST_NUMBER = 1_000

_FALLS_BACK = {
    Stage.STAGE_1_RACE: Stage.STAGE_1_PRE_RACE,
    Stage.STAGE_2_RACE: Stage.STAGE_2_PRE_RACE,
}
"""A heat that was on when the server ended is started anew."""


def save(evening: Evening, path: Path) -> None:
    """Writes an evening; the former file is replaced only once the new one is whole.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        # Else a power cut may leave an empty file in place of the last good one.
        moving.write(path, evening.model_dump_json(indent=2) + "\n", durable=True, mode=0o644)
    except OSError as error:
        raise StorageError(
            f"The race results '{path}' could not be written: {error.strerror}."
        ) from error


def load(path: Path) -> Evening:
    """Reads an evening; a heat that was being driven is before its start again.

    Raises:
        InputError: The file cannot be read, is too large, or holds no race evening.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"The race results '{path}' cannot be read: {error.strerror}.") from error
    if len(text) > MOST_BYTES:
        raise InputError(f"Race results hold at most {MOST_BYTES} bytes. '{path}' has more.")
    try:
        evening = Evening.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"'{path}' holds no race results that can be continued: "
            f"{f'{place}: ' if place else ''}{what}. Take a backup, or start a new evening."
        ) from error
    evening.stage = _FALLS_BACK.get(evening.stage, evening.stage)
    return evening


def begin(track: str, rules: RaceRules) -> tuple[Evening, Path]:
    """Returns the evening to be driven and the file that it is kept in from now on.

    A new evening takes the number after the highest that is there (`results.json`,
    `results-2.json` ...); the one that is continued has the highest.

    Raises:
        InputError: The evening to be continued cannot be, or was driven on another track.
        StorageError: No file can be made.
    """
    path = _last(rules.results) if rules.resume else None
    if path is not None:
        evening = load(path)
        if evening.track != track:
            raise InputError(
                f"The evening in '{path}' is driven on '{evening.track}'. Received: '{track}'. "
                "Serve that track, or name another results file."
            )
    else:
        evening = Evening(track=track)
        path = _claim(rules.results)
    evening.rules = rules.model_dump(mode="json")
    try:
        save(evening, path)
    except StorageError:
        # An empty file holds no evening that could be continued.
        if path.is_file() and not path.stat().st_size:
            path.unlink()
        raise
    return evening, path


def _named(wanted: Path, number: int) -> Path:
    return wanted if number == 1 else wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")


def _newest(wanted: Path) -> int:
    """Returns the number of the newest evening, 0 for none; older ones may have been put away."""
    # None that a person has given, such as a year.
    number = "[2-9]|[1-9][0-9]{1,2}"
    name = re.compile(f"{re.escape(wanted.stem)}(?:-({number}))?{re.escape(wanted.suffix)}")
    there = os.listdir(wanted.parent) if wanted.parent.is_dir() else []
    found = (name.fullmatch(each) for each in there)
    return max((int(match[1] or 1) for match in found if match), default=0)


def _last(wanted: Path) -> Path | None:
    """Returns the file of the newest evening."""
    newest = _newest(wanted)
    return _named(wanted, newest) if newest else None


def _claim(wanted: Path) -> Path:
    """Makes an empty file of the next name."""
    for number in range(_newest(wanted) + 1, _MOST_NUMBER):
        path = _named(wanted, number)
        try:
            wanted.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(
                f"The race results '{path}' could not be written: {error.strerror}."
            ) from error
        return path
    raise StorageError(f"'{wanted}' has {_MOST_NUMBER} brothers: clear them away.")

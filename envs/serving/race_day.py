"""A race evening on a track: its rules, its results file, its referee."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from donkey_rl.envs.serving.complaints import LOGGER
from donkey_rl.envs.serving.race import results
from donkey_rl.envs.serving.race.checkpoints import Course
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import Evening
from donkey_rl.envs.serving.race.referee import Referee
from donkey_rl.envs.simulator.track import Track
from donkey_rl.errors import StorageError


def host(rules: RaceRules) -> Callable[[Track], Referee]:
    """Returns what makes the referee of an evening by these rules, for a server.

    Its results file is made, or read if the evening is to be continued, when the track is known;
    that raises `InputError` or `StorageError`, and `ConfigurationError` on an open track.
    """

    def begin(track: Track) -> Referee:
        course = Course.of(track)
        evening, path = results.begin(track.name, rules)
        LOGGER.info("Race: %s on %s, results in '%s'.", evening.stage, track.name, path)
        return Referee(rules, course, evening, lambda now: _keep(now, path))

    return begin


def _keep(evening: Evening, path: Path) -> bool:
    """Writes an evening and returns whether that could be done; a full disk ends no race."""
    try:
        results.save(evening, path)
    except StorageError as error:
        LOGGER.error("%s The race goes on, and it is tried again.", error)
        return False
    return True

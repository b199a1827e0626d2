"""The pictures of a report, each with what it shows in words."""

from __future__ import annotations

import math
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from donkey_rl.envs.simulator import track
from donkey_rl.experiments import driver_plots, page, plots, splits, track_plot
from donkey_rl.experiments.driver_plots import Drives
from donkey_rl.experiments.reporting import words
from donkey_rl.experiments.reporting.runs import ReportedRun
from donkey_rl.experiments.stored_races import Course
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import limits
from donkey_rl.metrics.limits import OptimalLine
from donkey_rl.metrics.race import Race

_MOST_DRIVERS = 6
"""Drivers in one picture: as many as there are colours to tell apart."""


def of_course(course: Course, runs: Sequence[ReportedRun]) -> str:
    """Returns the pictures of drivers on one course, as markup.

    Args:
        course: The course.
        runs: Its drivers, the best first.
    """
    shown = runs[:_MOST_DRIVERS]
    race = shown[0].races[0]
    limit_s, best = limits.lap_s(race.header), plots.optimal(race)
    drives = [Drives(each.label, each.races) for each in shown]
    markup = ""
    if len(runs) > len(shown):
        markup += page.paragraph(
            f"The pictures show the best {len(shown)} of {len(runs)} drivers."
        )
    return (
        markup
        + _trajectory(course, shown[0], best)
        + _speed(drives, best)
        + _laps(drives, shown, limit_s)
        + _cte(drives)
    )


def drawn(draw: Callable[[pathlib.Path], pathlib.Path], alt: str, caption: str) -> str:
    """Returns a picture as markup.

    Args:
        draw: Draws it into the file it is given, and returns that file.
        alt: What it shows, for those who do not see it.
        caption: Below it.
    """
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as folder:
        file = draw(pathlib.Path(folder) / "picture.png")
        return page.figure(file.read_bytes(), alt, caption)


def _trajectory(course: Course, driver: ReportedRun, best: OptimalLine | None) -> str:
    race = _best_race(driver.races)
    road = _road(course, driver)
    if road is None:
        return page.paragraph(
            f"The track {course.track} is not known here: there is no picture of the way driven."
        )
    lap = lap_times.best_lap(race)
    told = "no lap was finished" if lap is None else f"its best lap took {lap.time_s:.2f} s"
    alt = (
        f"{course.track} from above with the way of {driver.label}, coloured by speed from "
        f"{race['speed'].min():.1f} to {race['speed'].max():.1f} u/s: {told}, "
        f"{words.counted(lap_times.off_track_count(race), 'time')} off the road, "
        f"{words.counted(lap_times.hits(race), 'hit')}."
    )
    caption = f"The race with the best lap of {driver.label}, from above."
    lines = track_plot.lines(road)
    return drawn(lambda path: plots.trajectory(race, lines, path, best), alt, caption)


def _road(course: Course, driver: ReportedRun) -> track.Track | None:
    """Returns the track, from the package or from the file that the run was trained on."""
    places = splits.named_by(driver.run.params)
    return track_plot.road(course.track, course.track_digest, places)


def _best_race(races: Sequence[Race]) -> Race:
    def rank(race: Race) -> tuple[bool, float, float]:
        lap = lap_times.best_lap(race)
        clean = lap is not None and lap.clean
        return not clean, lap.time_s if lap else np.inf, -lap_times.distance(race)

    return min(races, key=rank)


def _speed(drives: Sequence[Drives], best: OptimalLine | None) -> str:
    told = []
    for each in drives:
        rows = np.concatenate([race["speed"] for race in each.races])
        told.append(f"{each.label} {rows.mean():.1f} u/s on average, {rows.max():.1f} at most")
    return drawn(
        lambda path: driver_plots.speed(drives, path, best),
        f"Speed and steering over the distance of a lap: {'; '.join(told)}.",
        "Speed and steering over the distance of the best lap.",
    )


def _laps(drives: Sequence[Drives], runs: Sequence[ReportedRun], limit_s: float) -> str:
    told = []
    for each in runs:
        clean = [lap.time_s for lap in each.laps if lap.clean]
        span = f" in {min(clean):.2f} to {max(clean):.2f} s" if clean else ""
        told.append(f"{each.label} {len(clean)} clean laps of {len(each.laps)} driven{span}")
    if not math.isnan(limit_s):
        told.append(f"the time-optimal lap takes {limit_s:.2f} s")
    return drawn(
        lambda path: driver_plots.laps(drives, path, limit_s),
        f"Times of all laps: {'; '.join(told)}.",
        "Every lap as a point, and the mean of the clean ones with its 95 % interval.",
    )


def _cte(drives: Sequence[Drives]) -> str:
    told = []
    for each in drives:
        rows = np.abs(np.concatenate([race["cte"] for race in each.races]))
        told.append(f"{each.label} within {np.percentile(rows, 95):.1f} u in 95 % of the time")
    return drawn(
        lambda path: driver_plots.cte(drives, path),
        f"How far beside the path the cars were: {'; '.join(told)}.",
        "How far beside the path the car is, as a share of the time.",
    )

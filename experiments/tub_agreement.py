"""A driver held against what somebody recorded: whether it would have steered alike.

The driver learns nothing of it and drives nothing: on each recorded image it is asked what it
would have done. What it sees beside the image is the recording's, as far as that has it.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl.agents import lite_conversion
from donkey_rl.agents.donkey_driver import LiteModel
from donkey_rl.agents.manifest import ACTIONS
from donkey_rl.configuration import Config
from donkey_rl.errors import InputError
from donkey_rl.experiments import drivers, figures, recorded_drives
from donkey_rl.experiments.drivers import LearnedEntrant
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.recorded_drives import RecordedDrive
from donkey_rl.metrics import agreement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

_AT_ONCE = 256
"""Images in memory."""

_SHOWN_S = 60.0


class TubRequest(Config):
    """What to hold against what.

    Attributes:
        driver: As `drivers.load` takes it.
        tub: A tub, race records with pictures, or a folder of them.
        settings: Assignments `key=value` to the environment it was made for.
        speed: Taken throughout, as the driver's car reports it; the recorded one by default, and
            the usual one where none was recorded.
        plot: Where to draw it, a PNG file.
    """

    driver: str
    tub: pathlib.Path
    settings: tuple[str, ...] = ()
    speed: float | None = pydantic.Field(default=None, ge=0.0, allow_inf_nan=False)
    plot: pathlib.Path | None = None


class Steering(Config):
    """How steering commands, -1 to 1, agree with the recorded ones.

    Attributes:
        correlation: Pearson's.
        rmse: Root of the mean squared difference.
        bias: Mean difference, positive where the driver steers further to the right.
        lag_frames: By how many frames the driver is behind, where they correlate most.
        lagged_correlation: The correlation there.
        intervals: 95 % of the first four, from blocks of 100 frames.

    None stands for what a recording does not tell: the correlation of commands that never change,
    and the interval of a single block.
    """

    correlation: float | None
    rmse: float | None
    bias: float | None
    lag_frames: float | None
    lagged_correlation: float | None
    intervals: dict[str, tuple[float | None, float | None]]


class TubResult(Config):
    """How a driver agrees with a recording.

    Attributes:
        frames: Images that it was asked about.
        steering: With the recorded person's last actions before its eyes.
        steering_by_own_actions: With its own in their place, as if it drove.
        steering_unchanged: Of the recorded command before each, held against the recorded one:
            what copying the last action comes to.
        assumed: What the recording does not tell, with what was taken.
        notes: What was assumed or left out while reading.
    """

    run_id: str
    driver: str
    hash: str
    tub: str
    frames: int
    drives: int
    minutes: float
    steering: Steering
    steering_by_own_actions: Steering
    steering_unchanged: Steering
    assumed: dict[str, str]
    notes: tuple[str, ...]
    plot: str | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Commands:
    """Steering commands on the same frames, NaN where there is no image, (n,) each.

    Attributes:
        drive: Number of the drive that each frame is of.
        time_s: Of each, from the beginning of its recording.
        recorded: The person's.
        told: The driver's with the person's last actions.
        own: The driver's with its own.
    """

    drive: npt.NDArray[np.int64]
    time_s: FloatArray
    recorded: FloatArray
    told: FloatArray
    own: FloatArray

    @property
    def unchanged(self) -> FloatArray:
        """The person's command before each."""
        before = np.roll(self.recorded, 1)
        return np.where(np.diff(self.drive, prepend=-1) != 0, np.nan, before)


def evaluate(request: TubRequest, progress: ProgressDisplay) -> TubResult:
    """Holds a driver against a recording.

    Args:
        request: Which.
        progress: Shows how far it is.

    Raises:
        InputError: There is no such driver or recording, or the recording lacks images.
        StorageError: The plot cannot be written.
    """
    entrant = drivers.load(request.driver, request.settings)
    if not isinstance(entrant, LearnedEntrant):
        raise InputError(
            f"Expected a driver that is a network, which can be asked about a picture. Received: "
            f"{request.driver}. Give a run, a driver folder or a registered model."
        )
    # As the recording's car would report it.
    usual = recorded_drives.usual_speed(entrant.driver.observation.scaling)
    usual /= entrant.units_of(entrant.environment.vehicle)
    speed = usual if request.speed is None else request.speed
    with progress.phase("reading the recording", None, ""):
        found = recorded_drives.read(
            request.tub, entrant.environment, speed, throughout=request.speed is not None
        )
    with progress.phase("asking the driver", sum(map(len, found)), "frames") as phase:
        commands = _asked(entrant, found, phase.update)
    steering, own, unchanged = (
        _steering(commands, each) for each in (commands.told, commands.own, commands.unchanged)
    )
    if request.plot is not None:
        figures.save(drawn(commands, f"{entrant.name} on {request.tub.name}"), request.plot)
    asked = np.isfinite(commands.told)
    return TubResult(
        run_id=entrant.run_id,
        driver=entrant.name,
        hash=entrant.hash,
        tub=str(request.tub),
        frames=int(asked.sum()),
        drives=len(np.unique(commands.drive[asked])),
        minutes=round(_minutes(commands), 2),
        steering=steering,
        steering_by_own_actions=own,
        steering_unchanged=unchanged,
        assumed=_assumed(found, speed),
        notes=tuple(note for drive in found for note in drive.recording.notes),
        plot=None if request.plot is None else str(request.plot),
    )


def _asked(
    entrant: LearnedEntrant, found: Sequence[RecordedDrive], show: Callable[[int], None]
) -> _Commands:
    """Asks the driver about every image, some at a time."""
    driver = entrant.driver
    model = LiteModel(
        lite_conversion.converted(driver.graph, driver.observation.shapes),
        driver.observation.shapes,
    )
    limit = entrant.environment.steer_limit
    ratio = entrant.units_of(entrant.environment.vehicle)
    parts: list[_Commands] = []
    done = drives = 0
    for drive in found:
        told, own = np.full((2, len(drive)), np.nan)
        last, current = np.zeros(drive.last_actions.shape[1], np.float32), -1
        for first in range(0, len(drive), _AT_ONCE):
            rows = np.arange(first, min(first + _AT_ONCE, len(drive)))
            kept, seen = drive.observed(rows)
            seen = drivers.in_units(ratio, seen)
            if len(kept):
                told[kept] = driver.act(seen)[:, 0]
            given = driver.observation.parts(seen)[0] if len(kept) else []
            for index, row in enumerate(kept):
                if drive.drive[row] != current:
                    last[:], current = 0.0, int(drive.drive[row])
                single = [part[index : index + 1] for part in given[:-1]]
                action = model.act([*single, last[None]])[0]
                own[row] = action[0]
                last = np.append(last[ACTIONS:], action).astype(np.float32)
            done += len(rows)
            show(done)
        records = drive.records
        parts.append(
            _Commands(
                drive.drive + drives,
                drive.recording.time_s[records],
                drive.recording.steering[records],
                told * limit,
                own * limit,
            )
        )
        drives += int(drive.drive[-1]) + 1
    names = [field.name for field in dataclasses.fields(_Commands)]
    return _Commands(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _steering(commands: _Commands, driver: FloatArray) -> Steering:
    """Returns how commands agree with the recorded ones, all unknown where none are known."""
    names = ("correlation", "rmse", "bias", "lag_frames")
    if not np.isfinite(commands.recorded + driver).any():
        unknown = dict.fromkeys((*names, "lagged_correlation"))
        return Steering(**unknown, intervals=dict.fromkeys(names, (None, None)))
    found = agreement.measure(commands.recorded, driver, commands.drive)
    intervals = {name: getattr(found, name) for name in names}
    return Steering(
        **{name: _known(each.value) for name, each in intervals.items()},
        lagged_correlation=_known(found.lagged_correlation),
        intervals={
            name: (_known(each.low), _known(each.high)) for name, each in intervals.items()
        },
    )


def _known(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _minutes(commands: _Commands) -> float:
    """Returns how long the drives are, without the pauses between them."""
    gaps = np.diff(commands.time_s)
    inside = (np.diff(commands.drive) == 0) & np.isfinite(gaps)
    return float(np.sum(gaps[inside])) / 60.0


def _assumed(found: Sequence[RecordedDrive], speed: float) -> dict[str, str]:
    """Returns what the recording does not tell, and what was taken."""
    assumed = {}
    if recorded_drives.speed_is_assumed(found, speed):
        assumed["speed"] = f"{speed:g} throughout"
    if any(drive.recording.yaw_rate is None for drive in found):
        assumed["yaw rate"] = "of speed and the recorded command before, by the car's geometry"
    return assumed


def drawn(commands: _Commands, title: str) -> Figure:
    """Draws steering over time, one against the other, and what a lag makes of it.

    Args:
        commands: On the same frames.
        title: Of the picture.
    """
    figure = figures.new_figure(10.0, 6.5)
    grid = figure.add_gridspec(2, 2)
    over_time = figure.add_subplot(grid[0, :])
    left, right = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    longest = np.bincount(commands.drive).argmax()
    shown = commands.drive == longest
    time = commands.time_s[shown] - commands.time_s[shown][0]
    early = time <= _SHOWN_S
    lines = (
        ("recorded", commands.recorded, figures.BLACK),
        ("driver", commands.told, figures.BLUE),
        ("driver by its own last actions", commands.own, figures.ORANGE),
    )
    for label, values, colour in lines:
        over_time.plot(time[early], values[shown][early], color=colour, lw=1.0, label=label)
    over_time.set(xlabel="time (s)", ylabel="steering", ylim=(-1.05, 1.05), title=title)
    over_time.legend(loc="upper right", fontsize=8)
    known = np.isfinite(commands.told)
    left.hexbin(commands.recorded[known], commands.told[known], gridsize=40, bins="log")
    left.plot([-1, 1], [-1, 1], color=figures.GREY, lw=0.8)
    left.set(xlabel="recorded", ylabel="driver", xlim=(-1, 1), ylim=(-1, 1))
    lags = np.arange(-agreement.MOST_LAG, agreement.MOST_LAG + 1)
    for label, values, colour in lines[1:]:
        found = agreement.measure(commands.recorded, values, commands.drive)
        right.plot(lags, found.by_lag, color=colour, label=label)
    right.axvline(0, color=figures.GREY, lw=0.8)
    right.set(xlabel="lag of the driver (frames)", ylabel="correlation")
    return figure

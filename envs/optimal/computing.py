"""What `donkey-rl tracks limit` does: a lap, its second opinion, and the files it goes into."""

from __future__ import annotations

import pathlib
from typing import Any

from pydantic import Field

from donkey_rl import moving
from donkey_rl.configuration import Config
from donkey_rl.envs.grip import Limits
from donkey_rl.envs.optimal import collocation, lap
from donkey_rl.envs.simulator import track, vehicle
from donkey_rl.errors import InputError, StorageError


class LimitRequest(Config):
    """Which lap is computed and where it goes.

    Attributes:
        track: Scene name, `NAME:mirror`, or the path of a track file.
        vehicle: Car generation.
        out: File of laps that the lap is added to, such as `limits.own_file`, by which races on
            the track have a pace.
        motion: File of laps that the expert's motion is added to, as those of `optimal/lines`;
            with `reserve` and `margin` left of grip and road.
        reserve: Share of the grip that the expert's motion leaves.
        margin: Distance that its wheels keep from the road's edges (u).
        spacing: Between two points of the motion (u).
    """

    track: str
    vehicle: str = vehicle.DEFAULT_VEHICLE
    out: pathlib.Path | None = None
    motion: pathlib.Path | None = None
    reserve: float = Field(default=0.03, ge=0.0, le=0.5)
    margin: float = Field(default=0.2, ge=0.0, le=5.0)
    spacing: float = Field(default=1.0, ge=0.1, le=5.0)


def compute(request: LimitRequest) -> dict[str, Any]:
    """Computes a time-optimal lap and stores what was asked for.

    Returns:
        `track`, `vehicle`, `lap_s`, `quasi_steady_s` (the same line by the second method),
        `top_speed` and `least_speed` (u/s), and the `files` written.

    Raises:
        InputError: The track is no circuit, or CasADi is not installed.
        StorageError: A file cannot be written.
        DonkeyRLError: No lap was found.
    """
    # A lap of the mirror image is that of the track.
    road = track.load(request.track.removesuffix(track.MIRROR))
    car = vehicle.load(request.vehicle)
    files_wanted = [file for file in (request.out, request.motion) if file is not None]
    if len({file.resolve() for file in files_wanted}) < len(files_wanted):
        raise InputError(
            f"--out and --motion are two files: laps and motions have other entries. Received: "
            f"{request.out} for both. Give --motion another name."
        )
    for file in files_wanted:
        # Before minutes of work for a file that takes none of it.
        lap.contents(file)
        try:
            moving.check_place(file.resolve())
        except OSError as error:
            raise StorageError(f"{file} cannot be written: {error.strerror or error}.") from error
    problem = collocation.LapProblem(spacing=request.spacing)
    best = collocation.solve(road, car, problem)
    full = Limits(problem.throttle_min, problem.throttle_max, 1.0)
    second_s = lap.quasi_steady_s(road, car, best, full)
    files = []
    if request.out is not None:
        lap.store(request.out, road, car, lap.limit_entry(road, best, second_s))
        files.append(str(request.out))
    if request.motion is not None:
        careful = problem.model_copy(
            update={"grip": 1.0 - request.reserve, "margin": request.margin}
        )
        expert = collocation.solve(road, car, careful, best)
        lap.store(request.motion, road, car, lap.motion_entry(road, expert))
        files.append(str(request.motion))
    speed = best.rows[:, lap.FORWARD]
    return {
        "track": road.name,
        "vehicle": car.name,
        "lap_s": round(best.lap_s, 3),
        "quasi_steady_s": round(second_s, 3),
        "top_speed": round(float(speed.max()), 2),
        "least_speed": round(float(speed.min()), 2),
        "files": files,
    }

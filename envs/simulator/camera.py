"""The car's camera: a pinhole over flat ground, with the simulator's fish-eye on request.

On flat ground every pixel of an image row sees the ground at one distance, so a camera is a
short table of rows; what lies above the horizon is looked up by direction.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import vehicle
from donkey_rl.envs.simulator.sensors import CameraConfig

FloatArray = npt.NDArray[np.float64]

RIDE_HEIGHT = vehicle.RIDE_HEIGHT

PANORAMA_WIDTH = 1024
PANORAMA_HEIGHT = 160
PANORAMA_TOP = math.radians(80.0)
"""The surroundings: all around by elevation 0 to `PANORAMA_TOP`, rows from the horizon up."""

_MAX_FOV = 179.0


class Views(NamedTuple):
    """The cameras of all cars as tables; axis 0 is the car.

    The tables reach beyond the image by a margin on each side, H rows by W columns in all: a
    leaning camera looks there (see `leaning`).

    Attributes:
        pose: Shape (n, 9): right, height above ground and forward of the camera (u), sine and
            cosine of the pitch, the focal length in pixels, pitch, yaw and roll (rad).
        horizon: First row that sees the ground, shape (n,).
        ahead: Ground distance seen by a row's centre, from the camera (u), shape (n, H).
        ahead_span: How far along the ground a row reaches (u), shape (n, H).
        across: Ground width of a pixel (u), shape (n, H).
        sky: Panorama row and column at yaw 0 of each pixel, as row * PANORAMA_WIDTH + column,
            shape (n, H, W).
        margin_rows: Rows above and below the image.
    """

    pose: FloatArray
    horizon: npt.NDArray[np.int64]
    ahead: npt.NDArray[np.float32]
    ahead_span: npt.NDArray[np.float32]
    across: npt.NDArray[np.float32]
    sky: npt.NDArray[np.uint32]
    margin_rows: int


class Pose(NamedTuple):
    """Where a camera sits and how it looks; offsets in u, angles in degrees."""

    offset_x: float
    offset_y: float
    offset_z: float
    rot_x: float
    fov: float
    rot_y: float = 0.0
    rot_z: float = 0.0


def pose_of(config: CameraConfig) -> Pose:
    """Returns the configured pose."""
    place = (config.offset_x, config.offset_y, config.offset_z)
    return Pose(*place, config.rot_x, config.fov, config.rot_y, config.rot_z)


def empty_views(cameras: int, config: CameraConfig, margin: tuple[int, int] = (0, 0)) -> Views:
    """Allocates the tables of `cameras` cameras with a margin of rows and columns."""
    rows, columns = margin
    height, width = config.img_h + 2 * rows, config.img_w + 2 * columns
    return Views(
        pose=np.zeros((cameras, 9)),
        horizon=np.zeros(cameras, dtype=np.int64),
        ahead=np.zeros((cameras, height), dtype=np.float32),
        ahead_span=np.zeros((cameras, height), dtype=np.float32),
        across=np.zeros((cameras, height), dtype=np.float32),
        sky=np.zeros((cameras, height, width), dtype=np.uint32),
        margin_rows=rows,
    )


def point(views: Views, k: int, pose: Pose) -> None:
    """Fills in the tables of camera `k`.

    A pixel at height `y` and width `x` on the image plane at distance 1 looks along
    ``(x, y cos p - sin p, cos p + y sin p)`` (right, up, forward) for a pitch `p` downwards.
    Roll and yaw are left to the drawing.
    """
    height = views.sky.shape[1]
    tangent = math.tan(math.radians(min(pose.fov, _MAX_FOV)) / 2.0)
    focal = (height - 2 * views.margin_rows) / 2.0 / tangent
    pitch, yaw, roll = (math.radians(angle) for angle in (pose.rot_x, pose.rot_y, pose.rot_z))
    sin_pitch, cos_pitch = math.sin(pitch), math.cos(pitch)
    above = pose.offset_y + RIDE_HEIGHT
    place = (pose.offset_x, above, pose.offset_z)
    views.pose[k] = (*place, sin_pitch, cos_pitch, focal, pitch, yaw, roll)

    y = (height / 2.0 - 0.5 - np.arange(height)) / focal
    up = y * cos_pitch - sin_pitch
    forward = cos_pitch + y * sin_pitch
    ground = up < -1e-3
    views.horizon[k] = height - int(ground.sum())
    depth = np.where(ground, above / np.maximum(-up, 1e-3), 0.0)
    views.ahead[k] = depth * forward
    views.across[k] = depth / focal
    edge = y + 0.5 / focal
    edge_up = np.minimum(edge * cos_pitch - sin_pitch, -1e-3)
    far = above / -edge_up * (cos_pitch + edge * sin_pitch)
    views.ahead_span[k] = np.minimum(2.0 * np.maximum(far - views.ahead[k], 0.0), 60.0)

    _point_sky(views.sky[k], int(views.horizon[k]), views.pose[k])


@njit(cache=True)
def _point_sky(sky, horizon, pose):  # type: ignore[no-untyped-def]
    """Fills in the panorama's place for each pixel above the horizon."""
    height, width = sky.shape
    for r in range(horizon):
        y = (0.5 * height - 0.5 - r) / pose[5]
        up, forward = y * pose[4] - pose[3], pose[4] + y * pose[3]
        for c in range((width + 1) // 2):
            x = (0.5 * width - 0.5 - c) / pose[5]
            elevation = math.atan2(up, math.sqrt(x * x + forward * forward))
            row = elevation / PANORAMA_TOP * PANORAMA_HEIGHT
            row = int(min(max(row, 0.0), PANORAMA_HEIGHT - 1.0))
            turn = math.atan2(x, forward) / (2.0 * math.pi) * PANORAMA_WIDTH
            right, left = math.floor(turn), math.floor(-turn)
            sky[r, c] = row * PANORAMA_WIDTH + left % PANORAMA_WIDTH
            sky[r, width - 1 - c] = row * PANORAMA_WIDTH + right % PANORAMA_WIDTH


def fish_eye_source(config: CameraConfig) -> npt.NDArray[np.int32] | None:
    """Returns where each pixel of a fish-eye image is taken from, or None without fish-eye.

    The simulator's image effect: with ``c = 2 (uv - 0.5)``, ``k = 80 / 512`` and the aspect
    ``a``, the source is ``uv - ((1 - c_y^2) k fish_eye_y c_x, (1 - c_x^2) a k fish_eye_x c_y)``.

    Returns:
        Flat index into the h * w image, shape (h * w,).
    """
    if config.fish_eye_x == 0.0 and config.fish_eye_y == 0.0:
        return None
    width, height = config.img_w, config.img_h
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    across, down = 2.0 * (u - 0.5), 2.0 * (v - 0.5)
    strength, aspect = 80.0 / 512.0, width / height
    u = u - (1.0 - down**2) * config.fish_eye_y * strength * across
    v = v - (1.0 - across**2) * config.fish_eye_x * aspect * strength * down
    column = np.clip(u * width, 0, width - 1).astype(np.int32)
    row = np.clip(v * height, 0, height - 1).astype(np.int32)
    return (row * width + column).astype(np.int32).ravel()

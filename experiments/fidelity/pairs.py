"""Frames of a recording beside the embedded simulator's, drawn from the same places."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator import physics
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.envs.simulator.world import World
from donkey_rl.experiments.fidelity import camera_fit, frames, lines, projection
from donkey_rl.experiments.fidelity.camera_fit import CameraEstimate
from donkey_rl.experiments.fidelity.frames import Frames
from donkey_rl.experiments.fidelity.lines import Layout
from donkey_rl.experiments.fidelity.poses import Poses
from donkey_rl.experiments.fidelity.projection import Mounting

ImageArray = npt.NDArray[np.uint8]

_FRAMES = 200
_FEWEST_FRAMES = 60
_MOST_PIXELS = 16_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Images of k places, from the recording and from the embedded simulator.

    Attributes:
        frames: The recorded images.
        embedded: The embedded ones, of the same shape.
        poses: Where both were taken.
        camera: The embedded camera.
        estimate: The recording's camera as far as its frames show it.
        layout: The track's painted lines.
    """

    frames: Frames
    embedded: ImageArray
    poses: Poses
    camera: CameraConfig
    estimate: CameraEstimate
    layout: Layout

    @property
    def mounting(self) -> Mounting:
        """How the embedded camera sits."""
        return projection.mounting(self.camera)

    @property
    def recorded_mounting(self) -> Mounting:
        """How the recording's camera sits: as estimated, else like the embedded one."""
        return projection.mounting(self.estimate.camera or self.camera)


def draw(poses: Poses, track: Track, vehicle: Vehicle, camera: CameraConfig) -> ImageArray:
    """Draws what the embedded simulator's camera sees from cars at k poses.

    Returns:
        Shape (k, h, w, 3).
    """
    world = World(track, vehicle, camera, len(poses))
    motion, lean = np.zeros((len(poses), 6)), np.zeros((len(poses), 4))
    motion[:, physics.X], motion[:, physics.Z] = poses.x, poses.z
    motion[:, physics.YAW], motion[:, physics.FORWARD] = poses.yaw, poses.speed
    lean[:, physics.ROLL], lean[:, physics.PITCH] = poses.roll, poses.pitch
    world.place(np.arange(len(poses)), motion, lean)
    images = np.empty((len(poses), *camera.shape), dtype=np.uint8)
    world.render(images)
    return images


def _frame_count(recording: Recording) -> int:
    """Returns how many frames are compared: fewer of large ones, for the memory they take."""
    height, width = recording.frame_size() or (1, 1)
    return max(_FEWEST_FRAMES, min(_FRAMES, _MOST_PIXELS // (height * width)))


def pair(
    recording: Recording,
    trace: Trace,
    track: Track,
    vehicle: Vehicle,
    camera: CameraConfig,
    estimate: CameraEstimate | None = None,
) -> Pairs | str:
    """Puts recorded frames beside embedded ones from the same places.

    Args:
        recording: The drive with camera frames.
        trace: Its places on the simulator's clock.
        track: Where it was driven.
        vehicle: With which car.
        camera: The embedded camera; it draws images of the recording's size.
        estimate: The recording's camera where it is known already.

    Returns:
        About 200 pairs, or why there are none.
    """
    chosen = frames.choose(recording, trace, track, vehicle, _frame_count(recording))
    if isinstance(chosen, str):
        return chosen
    height, width = chosen.size
    drawn = camera.model_copy(update={"img_h": height, "img_w": width})
    known = estimate or camera_fit.of_frames(chosen, drawn)
    if known.contradicted:
        return known.reason or "no camera explains the frames"
    poses = chosen.poses(known.lag_s or 0.0)
    return Pairs(
        frames=chosen,
        embedded=draw(poses, track, vehicle, drawn),
        poses=poses,
        camera=drawn,
        estimate=known,
        layout=lines.layout(track),
    )

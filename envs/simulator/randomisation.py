"""Domain randomisation: what changes from one episode to the next, from one seed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs.simulator import camera, effects, materials, patches
from donkey_rl.envs.simulator import cues as signs
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]

HIGHEST_QUALITY = 95
"""Best JPEG quality that is drawn."""


class Randomisation(Config):
    """How far each property may leave its nominal value; 0 leaves it alone.

    Attributes:
        colours: Share by which each material's colour moves towards a random one.
        hue: Turn of the hue of every colour, the same way for all: either way by half of this to
            the whole (degrees). Grays and white lines stay.
        light: Relative change of brightness and of the warmth of the light.
        gamma: Change of the exponent of brightness (as a power of e), of ground and surroundings.
        contrast: Relative change of contrast around the middle gray, of the same.
        texture: Share by which grain and ground patches gain or lose contrast.
        surroundings: Whether the horizon is turned at random.
        shadows: Most dark patches within 25 u ahead, on average; 1 to 8 u long and wide, lying
            still on the ground, 20 to 60 % darker than it.
        bonnet: Probability that the car's own bonnet covers the middle of the lower edge, up to
            15 % of the image's height.
        noise: Highest standard deviation of the sensor noise, of 255.
        blur: Highest weight of the neighbours in a 3x3 blur; above 1, two blurs of half of it.
        sharpen: How far that weight may fall below 0, which sharpens.
        jpeg: Lowest JPEG quality that images go through (1 to 95; the highest is 95).
        camera_offset: Change of the camera's place on each axis (u).
        camera_pitch: Change of the camera's pitch (degrees).
        camera_yaw: Change of the camera's yaw (degrees).
        camera_roll: Change of the camera's roll (degrees).
        fov: Change of the vertical field of view (degrees).
        mass: Relative change of the car's mass.
        grip: Relative change of the tyres' grip.
        start_anywhere: Whether an episode starts at a random place along the road.
        start_at_failures: Share of the random starts that lie shortly before a place where an
            earlier episode on that road was terminated, where there is one.
        start_lateral: Share of the half width of the road by which the start is moved sideways.
        start_yaw: Change of the start's direction (degrees).
        start_speed: Highest speed at the start (u/s).
        cues: What in the scene tells which way the road turns; no road has that.
    """

    colours: float = Field(default=0.0, ge=0.0, le=1.0)
    hue: float = Field(default=0.0, ge=0.0, le=180.0)
    light: float = Field(default=0.0, ge=0.0, le=0.9)
    gamma: float = Field(default=0.0, ge=0.0, le=1.0)
    contrast: float = Field(default=0.0, ge=0.0, le=0.9)
    texture: float = Field(default=0.0, ge=0.0, le=1.0)
    surroundings: bool = False
    shadows: float = Field(default=0.0, ge=0.0, le=6.0)
    bonnet: float = Field(default=0.0, ge=0.0, le=1.0)
    noise: float = Field(default=0.0, ge=0.0, le=80.0)
    blur: float = Field(default=0.0, ge=0.0, le=2.0)
    sharpen: float = Field(default=0.0, ge=0.0, le=1.0)
    jpeg: int = Field(default=0, ge=0, le=HIGHEST_QUALITY)
    camera_offset: float = Field(default=0.0, ge=0.0, le=1.0)
    camera_pitch: float = Field(default=0.0, ge=0.0, le=20.0)
    camera_yaw: float = Field(default=0.0, ge=0.0, le=20.0)
    camera_roll: float = Field(default=0.0, ge=0.0, le=10.0)
    fov: float = Field(default=0.0, ge=0.0, le=30.0)
    mass: float = Field(default=0.0, ge=0.0, le=0.5)
    grip: float = Field(default=0.0, ge=0.0, le=0.5)
    start_anywhere: bool = False
    start_at_failures: float = Field(default=0.0, ge=0.0, le=1.0)
    start_lateral: float = Field(default=0.0, ge=0.0, le=0.9)
    start_yaw: float = Field(default=0.0, ge=0.0, le=90.0)
    start_speed: float = Field(default=0.0, ge=0.0, le=30.0)
    cues: signs.Cues = Field(default_factory=signs.Cues)

    @property
    def moves_camera(self) -> bool:
        """Whether each car needs a camera of its own."""
        turns = max(self.camera_pitch, self.camera_yaw, self.camera_roll)
        return max(self.camera_offset, turns, self.fov) > 0.0

    @property
    def varies_start(self) -> bool:
        """Whether cars start elsewhere than on the grid."""
        return self.start_anywhere or any((self.start_lateral, self.start_yaw, self.start_speed))


class Look(NamedTuple):
    """How one car sees the world; see `looks.Looks`."""

    ground: npt.NDArray[np.uint32]
    sky: npt.NDArray[np.uint32]
    ground_cues: npt.NDArray[np.uint32]
    sky_cues: npt.NDArray[np.uint32]
    sky_turn: int
    light: FloatArray
    noise: float
    blur: float
    jpeg: int
    shadows: float
    shadow_key: int
    bonnet: FloatArray


def nominal_colours(track: Track) -> tuple[FloatArray, FloatArray]:
    """Returns the colours of ground and surroundings of a track, shape (8, 3) each."""
    look = track.look
    ground = [look.colours[name] for name in track_materials()] + [(18, 18, 20)]
    if look.indoor:
        wall = np.array(look.sky_horizon, dtype=np.float64)
        ceiling = np.array(look.sky_top, dtype=np.float64)
        around = [ceiling, wall, (250, 248, 235), wall, 0.82 * wall]
        around += [(120, 96, 70), (70, 62, 58), (60, 58, 56)]
    else:
        around = [look.sky_top, look.sky_horizon, (228, 232, 238)]
        around += [(122, 134, 84), (84, 98, 66), (58, 104, 34), (36, 58, 26), (90, 80, 60)]
    return np.array(ground, dtype=np.float64), np.array(around, dtype=np.float64)


def track_materials() -> tuple[str, ...]:
    """Returns the ground materials that a track file names, in palette order."""
    return materials.GROUND[:-1]


def draw_look(setting: Randomisation, track: Track, rng: np.random.Generator) -> Look:
    """Draws how a car sees the world in its next episode."""
    ground, sky = nominal_colours(track)
    if setting.texture > 0.0:
        for base, grain in ((0, 1), (5, 6)):
            middle = 0.5 * (ground[base] + ground[grain])
            contrast = 1.0 + setting.texture * rng.uniform(-1.0, 1.5)
            ground[[base, grain]] = middle + contrast * (ground[[base, grain]] - middle)
    if setting.colours > 0.0:
        for table in (ground, sky):
            target = rng.uniform(0.0, 255.0, size=(materials.COUNT, 1))
            target = target + rng.uniform(-60.0, 60.0, size=(materials.COUNT, 3))
            share = setting.colours * rng.uniform(0.0, 1.0, size=(materials.COUNT, 1))
            table += share * (target - table)
    if setting.hue > 0.0:
        angle = math.radians(setting.hue) * rng.uniform(0.5, 1.0) * rng.choice((-1.0, 1.0))
        ground, sky = _turned(ground, angle), _turned(sky, angle)
    light = np.ones(3)
    if setting.light > 0.0:
        warmth = rng.uniform(-0.35, 0.35) * setting.light
        light *= 1.0 + setting.light * rng.uniform(-1.0, 0.7)
        light *= 1.0 + warmth * np.array([1.0, 0.0, -1.0])
    turn = int(rng.integers(camera.PANORAMA_WIDTH)) if setting.surroundings else 0
    noise = float(rng.uniform(0.0, setting.noise)) if setting.noise else 0.0
    blur = 0.0
    if setting.blur or setting.sharpen:
        blur = float(rng.uniform(-setting.sharpen, setting.blur))
    tone = _draw_tone(setting, rng)
    cells, key = 0.0, 0
    if setting.shadows > 0.0:
        cells = float(rng.uniform(0.0, setting.shadows)) / patches.CELLS_AHEAD
        key = int(rng.integers(1 << 40))
    grounds = materials.palette(_toned(signs.ground_colours(setting.cues, ground) * light, tone))
    skies = materials.palette(_toned(signs.sky_colours(setting.cues, sky) * light, tone))
    return Look(
        ground=grounds[0],
        sky=skies[0],
        ground_cues=grounds,
        sky_cues=skies,
        sky_turn=turn,
        light=light,
        noise=noise,
        blur=blur,
        jpeg=int(rng.integers(setting.jpeg, HIGHEST_QUALITY + 1)) if setting.jpeg else 0,
        shadows=cells,
        shadow_key=key,
        bonnet=_draw_bonnet(setting, light, rng),
    )


def _turned(colours: FloatArray, angle: float) -> FloatArray:
    """Returns colours of shape (n, 3) turned around the axis of the grays by an angle (rad).

    Rodrigues' rotation about k = (1, 1, 1) / sqrt(3):
    v cos a + (k x v) sin a + k (k . v) (1 - cos a).
    """
    across = np.roll(colours, 1, axis=1) - np.roll(colours, -1, axis=1)
    gray = colours.mean(axis=1, keepdims=True)
    cosine, sine = math.cos(angle), math.sin(angle) / math.sqrt(3.0)
    turned: FloatArray = cosine * colours + sine * across + (1.0 - cosine) * gray
    return turned


def draw_car(setting: Randomisation, nominal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draws the parameters of a car, see `vehicle.parameter_row`, around the nominal ones."""
    row = nominal.copy()
    if setting.mass > 0.0:
        change = 1.0 + setting.mass * rng.uniform(-1.0, 1.0)
        row[[vehicles.MASS, vehicles.YAW_INERTIA]] *= change
    if setting.grip > 0.0:
        change = 1.0 + setting.grip * rng.uniform(-1.0, 1.0)
        row[[vehicles.GRIP_LONGITUDINAL, vehicles.GRIP_LATERAL]] *= change
    return row


def _draw_tone(setting: Randomisation, rng: np.random.Generator) -> tuple[float, float]:
    """Draws the exponent of brightness and the factor on contrast."""
    gamma, contrast = 1.0, 1.0
    if setting.gamma > 0.0:
        gamma = math.exp(setting.gamma * rng.uniform(-1.0, 1.0))
    if setting.contrast > 0.0:
        contrast = 1.0 + setting.contrast * rng.uniform(-1.0, 1.0)
    return gamma, contrast


def _toned(colours: FloatArray, tone: tuple[float, float]) -> FloatArray:
    """Returns colours under an exponent of brightness and a factor on contrast, 0 to 255."""
    gamma, contrast = tone
    if gamma == contrast == 1.0:
        return np.clip(colours, 0.0, 255.0)
    curved = 255.0 * (np.clip(colours, 0.0, 255.0) / 255.0) ** gamma
    return np.clip(127.5 + contrast * (curved - 127.5), 0.0, 255.0)


def _draw_bonnet(
    setting: Randomisation, light: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Draws the car's own bonnet, see `effects.BONNET`; zeros where there is none."""
    bonnet = np.zeros(effects.BONNET)
    if setting.bonnet > 0.0 and rng.uniform(0.0, 1.0) < setting.bonnet:
        bonnet[:3] = rng.uniform((0.15, 0.03, -0.08), (0.6, 0.15, 0.08))
        bonnet[3:6] = rng.uniform(10.0, 255.0, size=3) * light
        bonnet[6:] = rng.uniform((-1.0, 0.0), (1.0, 0.5))
    return bonnet


def draw_pose(
    setting: Randomisation, config: CameraConfig, rng: np.random.Generator
) -> camera.Pose:
    """Draws a camera pose around the configured one."""
    nominal = camera.pose_of(config)
    reach = setting.camera_offset
    shift = rng.uniform(-reach, reach, size=3)
    pitch = nominal.rot_x + rng.uniform(-1.0, 1.0) * setting.camera_pitch
    fov = float(np.clip(nominal.fov + rng.uniform(-1.0, 1.0) * setting.fov, 10.0, 170.0))
    yaw, roll = nominal.rot_y, nominal.rot_z
    if setting.camera_yaw > 0.0:
        yaw += rng.uniform(-1.0, 1.0) * setting.camera_yaw
    if setting.camera_roll > 0.0:
        roll += rng.uniform(-1.0, 1.0) * setting.camera_roll
    return camera.Pose(
        offset_x=nominal.offset_x + shift[0],
        offset_y=max(0.1, nominal.offset_y + shift[1]),
        offset_z=nominal.offset_z + shift[2],
        rot_x=pitch,
        fov=fov,
        rot_y=yaw,
        rot_z=roll,
    )

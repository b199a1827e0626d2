"""The configuration dictionary that users of gym-donkeycar have."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.configuration import validate
from donkey_rl.envs.link.reports import Beam
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.sensors import SET_TOGETHER, LidarConfig
from donkey_rl.errors import ConfigurationError, nearest

REMOTE = ("exe_path", "host", "port")
"""Keys that choose another simulator instead of the embedded one, as all of gym-donkeycar's do."""

_CAR = ("body_style", "body_rgb", "car_name", "font_size")
_RACER = ("racer_name", "country", "bio", "guid")

IGNORED = ("start_delay", "log_level", "level")
"""Keys that are accepted and mean nothing here: a simulator is waited for until it answers."""

ONLY_REMOTE = (*_CAR, "car_config", *_RACER, "cam_encode")
"""Keys that mean nothing to the embedded simulator, where nobody else sees the car."""

MISSING = {"lidar_config": "lidar", "cam_config_b": "second camera"}
"""Keys that are accepted with a warning where the embedded simulator drives."""

USED = (
    "max_cte", "frame_skip", "cam_resolution", "cam_config",
    "steer_limit", "throttle_min", "throttle_max",
)  # fmt: skip

_SIZE = ("img_w", "img_h")
_CAMERA = (*_SIZE, *(key for group in SET_TOGETHER for key in group))
_CAMERA_IGNORED = ("img_enc", "msg_type")

_LIDAR = {
    "deg_per_sweep_inc": "degPerSweepInc",
    "deg_ang_down": "degAngDown",
    "deg_ang_delta": "degAngDelta",
    "num_sweeps_levels": "numSweepsLevels",
    "max_range": "maxRange",
}
"""gym-donkeycar's names of a lidar's settings, and those of the protocol, which it had once."""

_LIDAR_DEFAULTS: Mapping[str, float] = {
    "degPerSweepInc": 2.0, "degAngDown": 0.0, "degAngDelta": -1.0, "numSweepsLevels": 1,
    "maxRange": 50.0, "noise": 0.5, "offset_x": 0.0, "offset_y": 0.5, "offset_z": 0.5,
    "rot_x": 0.0,
}  # fmt: skip
"""What gym-donkeycar 1.3 sends where a `lidar_config` says nothing."""


def applied(config: EnvironmentConfig, conf: Mapping[str, Any]) -> EnvironmentConfig:
    """Returns a configuration with gym-donkeycar's keys applied.

    In `cam_config` a 0 means "leave as it is", as in the simulator: the place, the angles and the
    fish-eye are set as soon as one of their values is not 0, the size if both are. `conf` is not
    changed.
    With `host`, `port` or `exe_path` the simulator there drives; one that is a program is started.
    A lidar or a second camera that the embedded simulator is asked for is warned of
    (`UserWarning`) and left out.

    Raises:
        ConfigurationError: An unknown key or a value out of range.
    """
    known = (*USED, *REMOTE, *ONLY_REMOTE, *MISSING, *IGNORED)
    for key in conf:
        if key not in known:
            close = nearest(key, known)
            hint = f"Did you mean '{close}'?" if close else f"Known: {', '.join(USED)}."
            raise ConfigurationError(f"Unknown key '{key}' in conf. {hint}")
    if conf.get("frame_skip", 1) != 1:
        raise ConfigurationError(
            f"conf['frame_skip'] must be 1: one step is one telemetry message. "
            f"Received: {conf['frame_skip']}."
        )
    remote = any(key in conf for key in REMOTE)
    for key, part in MISSING.items():
        if conf.get(key) and not remote:
            warnings.warn(
                f"conf['{key}'] has no effect: the embedded simulator has no {part}.", stacklevel=2
            )
    values = config.model_dump()
    for key in ("steer_limit", "throttle_min", "throttle_max"):
        if key in conf:
            values[key] = conf[key]
    if "max_cte" in conf:
        values["task"]["max_cte"] = conf["max_cte"]
    if "cam_resolution" in conf:
        height, width, depth = _resolution(conf["cam_resolution"])
        values["camera"] |= {"img_h": height, "img_w": width, "img_d": depth}
    values["camera"] |= _camera(_group(conf, "cam_config"))
    if remote:
        values["simulator"] = _simulator(conf)
        values["link"] |= _link(conf, values["link"], values["camera"])
    return validate(EnvironmentConfig, values)


def _simulator(conf: Mapping[str, Any]) -> str:
    """Returns where to drive: the program, if there is one by that name, else the address."""
    program = str(conf.get("exe_path") or "")
    if program and pathlib.Path(program).is_file():
        return program
    return f"{conf.get('host', 'localhost')}:{conf.get('port', 9091)}"


def _link(
    conf: Mapping[str, Any], link: Mapping[str, Any], camera: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the settings of a connection that a `conf` changes."""
    look = {**conf, **_group(conf, "car_config")}
    car: dict[str, Any] = {
        key: look[key] for key in ("body_style", "car_name", "font_size") if key in look
    }
    if "body_rgb" in look:
        car |= _colour(look["body_rgb"])
    names = {"racer_name": "name", "country": "country", "bio": "bio", "guid": "guid"}
    racer = {ours: str(conf[key]) for key, ours in names.items() if key in conf}
    changed: dict[str, Any] = {"car": link["car"] | car, "racer": link["racer"] | racer}
    if "port" in conf:
        changed["port"] = conf["port"]
    if conf.get("cam_encode"):
        changed["image_encoding"] = conf["cam_encode"]
    if conf.get("cam_config_b"):
        # Of the first camera it has the images' size alone.
        size = {name: camera[name] for name in ("img_w", "img_h", "img_d")}
        changed["camera_b"] = {**size, **_camera(_group(conf, "cam_config_b"))}
    if conf.get("lidar_config"):
        changed["lidar"] = _lidar(_group(conf, "lidar_config"))
    return changed


def _group(conf: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Returns the settings below a key, none where there are none."""
    given = conf.get(key) or {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"conf['{key}'] is a dictionary. Received: {given!r}.")
    return dict(given)


def _colour(given: Any) -> dict[str, Any]:
    is_row = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    if not is_row or len(given) != 3:
        raise ConfigurationError(
            f"conf['body_rgb'] is red, green and blue, 0 to 255 each. Received: {given!r}."
        )
    return dict(zip(("body_r", "body_g", "body_b"), given, strict=True))


def lidar_array(beams: Iterable[Beam], config: LidarConfig) -> npt.NDArray[np.float64]:
    """Returns lidar returns as gym-donkeycar arranges them.

    Args:
        beams: The returns.
        config: The lidar.

    Returns:
        Distance by level and direction, level by level, -1 where nothing was hit.
    """
    around = config.rays
    found = np.full(config.beams, -1.0)
    for beam in beams:
        level = round(abs(beam.ry / config.degAngDelta)) if config.degAngDelta else 0
        place = around * level + round(abs(beam.rx / config.degPerSweepInc))
        if place < len(found):
            found[place] = beam.d
    return found


def _lidar(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the lidar that a `lidar_config` asks for."""
    for key in given:
        if key not in (*_LIDAR, *_LIDAR_DEFAULTS):
            known = (*_LIDAR, *(key for key in _LIDAR_DEFAULTS if key not in _LIDAR.values()))
            close = nearest(key, known)
            hint = f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}."
            raise ConfigurationError(f"Unknown key '{key}' in conf['lidar_config']. {hint}")
    return {**_LIDAR_DEFAULTS, **{_LIDAR.get(key, key): value for key, value in given.items()}}


def _camera(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the camera settings that a `cam_config` changes."""
    for key in given:
        if key not in _CAMERA + _CAMERA_IGNORED:
            close = nearest(key, _CAMERA)
            hint = f"Did you mean '{close}'?" if close else f"Known: {', '.join(_CAMERA)}."
            raise ConfigurationError(f"Unknown key '{key}' in conf['cam_config']. {hint}")
    changed: dict[str, Any] = {}
    for group in (_SIZE, *SET_TOGETHER):
        values = {key: given.get(key, 0) for key in group}
        zeros = [_is_zero(value) for value in values.values()]
        if not (any(zeros) if group is _SIZE else all(zeros)):
            changed |= values
    return changed


def _is_zero(value: Any) -> bool:
    try:
        return float(value) == 0.0
    except (TypeError, ValueError):
        return False


def _resolution(value: Any) -> tuple[int, int, int]:
    try:
        height, width, depth = (int(part) for part in value)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"conf['cam_resolution'] must be (height, width, depth). Received: {value!r}."
        ) from None
    return height, width, depth

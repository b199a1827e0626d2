"""The configuration dictionary that users of gym-donkeycar have."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from donkey_rl.configuration import validate
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import ConfigurationError, nearest

IGNORED = (
    "exe_path", "host", "port", "start_delay", "log_level", "cam_encode", "level",
    "car_config", "body_style", "body_rgb", "car_name", "font_size",
    "racer_name", "country", "bio", "guid",
)  # fmt: skip
"""Keys that are accepted and mean nothing to the embedded simulator."""

MISSING = {"lidar_config": "lidar", "cam_config_b": "second camera"}
"""Keys that are accepted with a warning: what they ask for is not simulated."""

USED = (
    "max_cte", "frame_skip", "cam_resolution", "cam_config",
    "steer_limit", "throttle_min", "throttle_max",
)  # fmt: skip

_CAMERA_GROUPS = (
    ("img_d",), ("fov",), ("rot_x",), ("img_w", "img_h"),
    ("offset_x", "offset_y", "offset_z"), ("fish_eye_x", "fish_eye_y"),
)  # fmt: skip
"""Of each group, all values are set or none; a value that is not given is 0."""

_CAMERA = tuple(key for group in _CAMERA_GROUPS for key in group)
_CAMERA_IGNORED = ("img_enc", "rot_y", "rot_z", "msg_type")


def applied(config: EnvironmentConfig, conf: Mapping[str, Any]) -> EnvironmentConfig:
    """Returns a configuration with gym-donkeycar's keys applied.

    In `cam_config` a 0 means "leave as it is", as in the simulator: the place and the fish-eye
    are set as soon as one of their values is not 0, the size if both are. `conf` is not changed.
    A lidar or a second camera that it asks for is warned of (`UserWarning`) and left out.

    Raises:
        ConfigurationError: An unknown key or a value out of range.
    """
    known = (*IGNORED, *USED, *MISSING)
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
    for key, part in MISSING.items():
        if conf.get(key):
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
    values["camera"] |= _camera(dict(conf.get("cam_config") or {}))
    return validate(EnvironmentConfig, values)


def _camera(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the camera settings that a `cam_config` changes."""
    for key in given:
        if key not in _CAMERA + _CAMERA_IGNORED:
            close = nearest(key, _CAMERA)
            hint = f"Did you mean '{close}'?" if close else f"Known: {', '.join(_CAMERA)}."
            raise ConfigurationError(f"Unknown key '{key}' in conf['cam_config']. {hint}")
    changed: dict[str, Any] = {}
    for group in _CAMERA_GROUPS:
        values = {key: given.get(key, 0) for key in group}
        zeros = [_is_zero(value) for value in values.values()]
        if not (any(zeros) if group[0] == "img_w" else all(zeros)):
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

"""The lines of a record: how they are written and read; `interface.Kind` says what each holds.

```
{"number":17,"time_s":5120.25,"wall_s":1795888200.1,"kind":"frame","fields":{...},"picture":[0,2890]}
```

`number` counts from 0 without a gap; `time_s` is the monotonic clock of the machine, which
`arrived` of a frame is of as well, `wall_s` seconds since 1970. `picture` says from which byte on,
and for how many, the picture lies in the part's file of pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from donkey_rl.envs.link import reports
from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.errors import MessageError
from donkey_rl.race_server.interface import Kind

AnyKind = Kind | Literal["header", "end"]
"""Beside what cars note a record has a first line and, if it was ended, a last one."""

LONGEST = 256 << 10
"""Bytes of a line at most."""

_DEEPEST = 20
_HIDDEN = "***"


class Encoded(NamedTuple):
    """A line that has only to learn where its picture lies.

    Attributes:
        head: Its JSON up to there.
        picture: Its picture.
    """

    head: bytes
    picture: bytes | None

    def line(self, place: tuple[int, int] | None) -> bytes:
        """Returns the whole line.

        Args:
            place: Where its picture lies, and how long it is (bytes).
        """
        if place is None:
            return self.head + b"}\n"
        return b'%s,"picture":[%d,%d]}\n' % (self.head, *place)


def encode(
    number: int,
    time_s: float,
    wall_s: float,
    kind: AnyKind,
    fields: Mapping[str, Any],
    picture: bytes | None,
    *,
    secrets: Sequence[str] = (),
) -> Encoded:
    """Returns a line as JSON; what cannot be said in it is said of it, and nothing is raised.

    Args:
        number: Of the line.
        time_s: Monotonic (s).
        wall_s: Since 1970 (s).
        kind: What it tells of.
        fields: What it tells.
        picture: Its picture.
        secrets: What is made unreadable wherever a text holds it; names and numbers stay.
    """
    text = _json(fields)
    if any(json.dumps(each)[1:-1].encode() in text for each in secrets):
        text = _dumped(_hidden(json.loads(text), secrets))
    head = b'{"number":%d,"time_s":%.6f,"wall_s":%.3f,"kind":"%s","fields":%s' % (
        *(number, time_s, wall_s, kind.encode()),
        text,
    )
    return Encoded(head, picture)


def _json(fields: Mapping[str, Any]) -> bytes:
    try:
        text = _dumped(fields)
    except Exception:
        try:
            text = _dumped(_plain(fields, 0))
        except Exception as error:
            # Whatever somebody has noted: the record goes on, and its numbers have no gap.
            text = _dumped({"unwritable": type(error).__name__})
    return text if len(text) < LONGEST - 1024 else _dumped({"too_long": len(text)})


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _hidden(value: Any, secrets: Sequence[str]) -> Any:
    """Returns a value of JSON with the secrets in its texts made unreadable."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _HIDDEN)
        return value
    if isinstance(value, dict):
        return {key: _hidden(inner, secrets) for key, inner in value.items()}
    return [_hidden(inner, secrets) for inner in value] if isinstance(value, list) else value


def _plain(value: Any, depth: int) -> Any:
    """Returns a value that JSON can say: numbers that are not finite as text."""
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, depth + 1) for inner in value]
    # Numbers and arrays of NumPy.
    listed = getattr(value, "tolist", None)
    return _plain(listed(), depth + 1) if callable(listed) else str(value)[:1000]


def telemetry(fields: Mapping[str, Any]) -> Telemetry:
    """Returns the telemetry of a line of kind `frame`, without pictures and lidar.

    Raises:
        MessageError: Time or speed is missing or no number.
    """
    names = ("time", "speed", "throttle", "hit", "cte")
    told = {name: fields[name] for name in names if name in fields}
    told |= {
        "msg_type": "telemetry",
        "image": "",
        "steering_angle": fields.get("steering"),
        "activeNode": fields.get("node"),
        "totalNodes": fields.get("nodes"),
        "gyro_w": fields.get("gyro_w"),
    }
    for name, keys in _VECTORS.items():
        values = fields.get(name)
        if isinstance(values, list) and len(values) == len(keys):
            told |= dict(zip(keys, values, strict=True))
    parsed = reports.parse({key: value for key, value in told.items() if value is not None})
    if not isinstance(parsed, Telemetry):
        raise MessageError("telemetry", "time", "and speed are needed")
    return parsed


_VECTORS = {
    "accel": ("accel_x", "accel_y", "accel_z"),
    "gyro": ("gyro_x", "gyro_y", "gyro_z"),
    "angles": ("pitch", "yaw", "roll"),
    "position": ("pos_x", "pos_y", "pos_z"),
    "velocity": ("vel_x", "vel_y", "vel_z"),
    "odometry": reports.ODOMETRY,
}

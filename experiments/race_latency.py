"""The latency that races of an evaluation are driven with."""

from __future__ import annotations

import pathlib

from donkey_rl import configuration
from donkey_rl.envs import latency_profile
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.errors import InputError

_DIGITS = 6
"""Of a profile's SHA-256, enough to tell measurements apart."""


def asked(latency_ms: float, jitter_ms: float, profile: pathlib.Path | None) -> LatencyConfig:
    """Returns the latency that somebody asks for.

    Args:
        latency_ms: Two-way.
        jitter_ms: Two-way at most, to either side.
        profile: File of measured delays in place of both.

    Raises:
        InputError: Both are asked for, or the file cannot be played.
        ConfigurationError: A value is out of range.
    """
    if profile is not None and (latency_ms or jitter_ms):
        raise InputError(
            "--latency-profile takes the place of --latency-ms and --jitter-ms. Received: both. "
            "Leave one out."
        )
    if profile is not None:
        latency_profile.read(profile)
        return LatencyConfig(profile=str(profile))
    return configuration.validate(
        LatencyConfig, {"low_ms": latency_ms, "high_ms": latency_ms, "jitter_ms": jitter_ms}
    )


def later(latency: LatencyConfig, added_ms: float) -> LatencyConfig:
    """Returns a latency with something added to each delay."""
    return latency.model_copy(update={"added_ms": latency.added_ms + added_ms})


def padded(latency: LatencyConfig, trained_ms: tuple[float, float]) -> LatencyConfig:
    """Returns the latency that a driver is driven with: not below what it was trained for.

    As at a race (`race_server/pacing.py`), commands wait until the lowest delay of the link comes
    to the lowest of the training.

    Args:
        latency: Of the link.
        trained_ms: What the driver was trained for, lowest and highest.

    >>> padded(LatencyConfig(low_ms=40, high_ms=40), (100.0, 300.0)).range_ms
    (100.0, 100.0)
    >>> padded(LatencyConfig(low_ms=40, high_ms=40), (0.0, 300.0)).range_ms
    (40.0, 40.0)
    """
    return later(latency, max(0.0, trained_ms[0] - latency.range_ms[0]))


def told(latency: LatencyConfig) -> dict[str, float | int | str]:
    """Returns what a record says of a latency.

    >>> told(LatencyConfig(low_ms=100, high_ms=100, jitter_ms=20)), told(LatencyConfig())
    ({'latency_ms': 100.0, 'jitter_ms': 20.0}, {})
    """
    found: dict[str, float | int | str] = {}
    delay = latency.low_ms + latency.added_ms
    if delay:
        found["latency_ms"] = delay
    if latency.jitter_ms:
        found["jitter_ms"] = latency.jitter_ms
    if latency.profile is not None:
        # Every measurement is called so: what is in it tells it from others.
        digest = latency_profile.read(latency.profile).digest
        found["latency_profile"] = f"{pathlib.Path(latency.profile).name} {digest[:_DIGITS]}"
    return found


def remark(latency: LatencyConfig, run_id: str) -> str:
    """Returns what people are told when a driver that was trained for latency has been raced.

    >>> remark(LatencyConfig(high_ms=300), "3f2a")[-40:]
    'donkey-rl evaluate 3f2a --latency-ms 150'
    """
    low, high = latency.range_ms
    return (
        f"these races were driven at a latency of {low:g} ms; at another: donkey-rl evaluate "
        f"{run_id} --latency-ms {0.5 * (low + high):g}"
    )


def marking(latency: LatencyConfig) -> list[str]:
    """Returns what tells a latency from others, for the key of an evaluation."""
    found = [latency.model_dump_json(exclude={"profile"})]
    if latency.profile is not None:
        found.append(latency_profile.read(latency.profile).digest)
    return found

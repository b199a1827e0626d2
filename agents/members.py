"""What the members of an ensemble have in common, and what an evaluator asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from donkey_rl.agents.manifest import DriverDescription, ObservationSpec
from donkey_rl.errors import DriverError

if TYPE_CHECKING:
    from donkey_rl.agents.driver import Driver

_ALIKE = ("vehicle", "camera", "steering_limits", "throttle_limits")
"""What a description must have in common, beside what is seen: what an action means."""


class Alike(Protocol):
    """What members have in common: of a driver, or of one that is still to be trained.

    Attributes:
        observation: What it sees.
        description: Among others, what its actions mean.
        hash: What it is known by; empty before its training.
    """

    @property
    def observation(self) -> ObservationSpec: ...  # noqa: D102

    @property
    def description(self) -> DriverDescription: ...  # noqa: D102

    @property
    def hash(self) -> str: ...  # noqa: D102


def check_alike(first: Alike, other: Alike) -> None:
    """Refuses two drivers that do not see the same, or whose actions do not mean the same.

    Raises:
        DriverError: With the first difference.
    """
    ours, theirs = (
        {
            **each.observation.model_dump(mode="json"),
            **each.description.model_dump(mode="json", include=set(_ALIKE)),
        }
        for each in (first, other)
    )
    for name, value in ours.items():
        if theirs[name] != value:
            raise DriverError(
                f"The members of an ensemble see the same and drive the same car. Received: "
                f"{name} {value} of {called(first)}, {theirs[name]} of {called(other)}. Leave "
                "one out."
            )


def check_critics(members: Sequence[Driver]) -> None:
    """Refuses members of which one has no critic.

    Raises:
        DriverError: One has none.
    """
    without = [called(each) for each in members if each.critic is None]
    if without:
        raise DriverError(
            f"The evaluator critic asks the critic of every member. Received: {without[0]} "
            "without one. Drivers of SAC keep theirs, with every encoder but cnn, if this version "
            "of donkey-rl trained them: train it again, or take median or mean."
        )


def called(driver: Alike) -> str:
    """Returns what errors call a driver: its run where it has one."""
    if not driver.hash:
        return "those to be trained"
    run = driver.description.notes.get("run_id")
    return f"run {str(run)[:8]}" if run else f"driver {driver.hash[:8]}"

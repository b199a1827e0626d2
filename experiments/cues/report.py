"""What a probe for cues found."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from donkey_rl.configuration import Config


class Movement(Config):
    """By how much one of the two actions moved over all places.

    Attributes:
        mean: Mean of the absolute change.
        p95: Its 95th percentile.
    """

    mean: float
    p95: float


class CueResult(Config):
    """What one cue does to the driver.

    Attributes:
        cue: Its name.
        steering: How far the steering moves when it flips, at the same places.
        throttle: The same of the throttle.
        yardstick_steering: How far it moves when as much of the image changes at random.
        yardstick_throttle: The same of the throttle.
        image_change: Size of both changes: root mean square, 0 to 255.
        towards: How far of it the steering moves to the cue's side, see `movement.towards`: mean.
        towards_low: Lower bound of its 95 % interval, `towards_high` the upper.
        correlated: Mean scores of races in which the cue agrees with every bend.
        flipped: The same where it says the opposite.
        share_lost: Share of the race score under `correlated` that is lost when the cue flips;
            None where there was none to lose.
        followed: Whether the driver steers by it: more than by anything as large in the image.
    """

    cue: str
    steering: Movement
    throttle: Movement
    yardstick_steering: Movement
    yardstick_throttle: Movement
    image_change: float
    towards: float
    towards_low: float
    towards_high: float
    correlated: dict[str, float | None]
    flipped: dict[str, float | None]
    share_lost: float | None
    followed: bool


class Question(Config):
    """A picture whose label would tell by what a driver steers.

    Attributes:
        file: Its PNG, as the driver sees it.
        arc: Where on the path it was taken (u).
        lateral: Offset to the right of the path (u).
        bend: Where the road turns, `left` or `right`.
        cues: What each cue says there.
        predictions: Steering by each hypothesis.
        spreads: Standard deviation of the label around each prediction.
        bits: Information that the label is expected to bring beyond the pictures before it.
        driver: What the driver itself steers there.
    """

    file: str
    arc: float
    lateral: float
    bend: str
    cues: dict[str, str]
    predictions: dict[str, float]
    spreads: dict[str, float]
    bits: float
    driver: float


class CueReport(Config):
    """Whether a driver drives for the right reason.

    Attributes:
        driver: Its name.
        track: Where it was asked.
        places: Number of places at which its actions were compared.
        races: Races in each scene, `laps` their laps.
        seed: Of places and races.
        nominal: Mean scores of races without any cue.
        cues: What each cue does.
        questions: The few pictures that would best tell the hypotheses apart.
        beliefs: Probability of each hypothesis after the driver's own answers to them.
        verdict: The finding as a sentence.
        folder: Where it is stored inside the run; empty if it is not.
    """

    driver: str
    track: str
    places: int
    races: int
    laps: int
    seed: int
    nominal: dict[str, float | None]
    cues: tuple[CueResult, ...]
    questions: tuple[Question, ...]
    beliefs: dict[str, float]
    verdict: str
    folder: str = ""


_MUCH_LOST = 0.25
"""Share of the score whose loss is told although the wheels show nothing."""


def verdict(results: Sequence[CueResult]) -> str:
    """Returns what the probe of each cue comes to, as one sentence or two.

    A driver may go by a cue with the throttle: then its wheels do not tell, but its score does.
    """
    followed = [each.cue for each in results if each.followed]
    found = "No cue moves the steering towards what it says more than its yardstick."
    if followed:
        found = f"It steers by {', '.join(followed)}, not by the lane alone."
    lost = [
        f"{each.cue} ({each.share_lost:.0%})"
        for each in results
        if not each.followed and each.share_lost is not None and each.share_lost >= _MUCH_LOST
    ]
    return f"{found} Flipped, it costs much of the score: {', '.join(lost)}." if lost else found


class ProbePlan(Config):
    """How thoroughly a driver is probed.

    Attributes:
        places: Places at which its actions are compared.
        races: Races in each scene: without cues, and with each cue agreeing and flipped.
        laps: Laps of a race.
        questions: Most pictures to ask about.
        seed: Of places and races.
    """

    places: int = Field(default=128, ge=32, le=4096)
    races: int = Field(default=5, ge=1, le=256)
    laps: int = Field(default=1, ge=1, le=100)
    questions: int = Field(default=5, ge=1, le=5)
    seed: int = Field(default=0, ge=0, lt=2**31)

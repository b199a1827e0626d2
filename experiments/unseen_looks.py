"""Looks that no training draws, to race a driver under."""

from __future__ import annotations

from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.errors import UnknownNameError

LOOKS: dict[str, Randomisation] = {
    "unseen": Randomisation(
        hue=120.0,
        colours=0.3,
        light=0.5,
        gamma=0.3,
        contrast=0.3,
        texture=0.8,
        surroundings=True,
        shadows=4.0,
        noise=8.0,
        camera_offset=0.1,
        camera_pitch=2.0,
        camera_yaw=1.0,
        camera_roll=1.0,
        fov=4.0,
    )
}
"""By name what each race's seed draws. Under `unseen` every colour has another hue, by 60 to
120 degrees either way, in every race: no recipe draws hues. What else varies goes as far as the
default training goes, or farther; the generalists' recipes draw colours farther, and
`sac_generalist` the camera."""


def load(name: str) -> Randomisation:
    """Returns a look by its name.

    Raises:
        UnknownNameError: There is none of that name; it carries the nearest.
    """
    if name not in LOOKS:
        raise UnknownNameError("look", name, tuple(LOOKS))
    return LOOKS[name]

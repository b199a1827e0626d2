"""Lets programs that were written for gym-donkeycar run with one import changed.

``import donkey_rl.envs.stock`` in place of ``import gym_donkeycar``: from then on
``gymnasium.make`` gives the environments of all ids with gym-donkeycar's own spaces, the picture
alone as observation, and steering and throttle as the car takes them; see `StockSpaces`. Where
gym-donkeycar was imported before, it loses its ids to this module. Rewards and the ends of
episodes are this package's (`envs.tasks`): ``set_reward_fn`` and ``set_episode_over_fn`` are not
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from donkey_rl.envs import registration, rendering

ENTRY_POINT = f"{__name__}:make"


def make(
    settings: Mapping[str, Any], *, stock_spaces: bool = True, **arguments: Any
) -> gymnasium.Env[Any, Any]:
    """Builds the environment of an id as `registration.make`, with gym-donkeycar's spaces."""
    return registration.make(settings, stock_spaces=stock_spaces, **arguments)


make.metadata = rendering.METADATA  # type: ignore[attr-defined]

for _identifier in registration.IDS:
    # Not by an argument, nor with vector environments of its own: these have other spaces.
    registration.register_one(_identifier, ENTRY_POINT)

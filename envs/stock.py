"""Lets programs that were written for gym-donkeycar run as they are.

``import donkey_rl.envs.stock`` in place of ``import gym_donkeycar``: from then on
``gymnasium.make`` gives the environments of all ids with gym-donkeycar's own spaces, the picture
alone as observation, and steering and throttle as the car takes them; see `StockSpaces`.
"""

from __future__ import annotations

import gymnasium

from donkey_rl.envs import registration

for _identifier in registration.IDS:
    gymnasium.registry[_identifier].kwargs.setdefault("stock_spaces", True)

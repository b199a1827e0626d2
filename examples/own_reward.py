"""A reward of your own: a car that keeps to a walking pace, whatever that costs in laps.

donkey-rl train --steps 40000 --set check.keep=last --set task.reward=examples/own_reward.py:pace

Other weights of the usual terms need no code: `donkey-rl train --set task.smoothness_penalty=0.5`.
"""

WANTED = 5.0  # u/s


def pace(step, failed):
    """Pays up to 1 a step for the pace, and takes 10 where an episode fails."""
    return 1.0 - abs(step.speed - WANTED) / WANTED - 10.0 * failed

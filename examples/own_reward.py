"""A reward of your own: a car that keeps to a walking pace.

donkey-rl train --agent sac --steps 40000 --set check.keep=last \
    --set task.reward=examples/own_reward.py:keep_pace

Other weights of the usual terms need no code: `donkey-rl train --set task.smoothness_penalty=0.5`.
"""

PACE = 5.0  # u/s


def keep_pace(step, failed):
    """Pays up to 1 a step for the pace, and takes 10 where an episode fails."""
    return 1.0 - abs(step.speed - PACE) / PACE - 10.0 * failed

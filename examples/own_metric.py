"""A metric of your own: how much of a race the car drove on the left of the path.

donkey-rl check-metric examples/own_metric.py:left_share
donkey-rl evaluate pursuit --races 2 --laps 1 --metric examples/own_metric.py:left_share
"""

from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import metric


@metric(unit="", direction="lower", low=0.0, high=1.0)
def left_share(race: Race) -> float:
    """Share of the steps on the left of the path.

    Number of rows with lateral < 0 by the number of rows.
    """
    return float((race["lateral"] < 0.0).mean())

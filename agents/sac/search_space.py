"""What a sweep varies of soft actor-critic unless it is told otherwise.

What costs time is bounded to about twice the defaults: a trial counts environment steps, so
that more updates of larger networks would else always seem to be worth their price.
"""

from __future__ import annotations

from donkey_rl.search_space import Choice, Float, Int, SearchSpace

SPACE: SearchSpace = {
    "sac.learning_rate": Float(low=3e-4, high=3e-3, log=True),
    "sac.hidden": Choice(choices=((64, 64), (128, 128), (256, 256), (128, 128, 128))),
    "sac.critic_layer_norm": Choice(choices=(False, True)),
    "sac.critic_dropout": Choice(choices=(0.0, 0.01)),
    "sac.quantiles": Choice(choices=(0, 25)),
    "sac.batch_size": Choice(choices=(128, 256, 512)),
    "sac.gradient_steps": Int(low=8, high=32, log=True),
    "sac.gamma": Float(low=0.96, high=0.995),
    "sac.n_steps": Int(low=1, high=6),
    "sac.tau": Float(low=3e-3, high=3e-2, log=True),
    "sac.entropy": Float(low=0.02, high=0.5, log=True),
}
"""By setting, the values among which to choose; those of `donkey-rl train` are among them."""

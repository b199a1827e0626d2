"""What a sweep varies of proximal policy optimisation unless it is told otherwise."""

from __future__ import annotations

from donkey_rl.search_space import Choice, Float, Int, SearchSpace

SPACE: SearchSpace = {
    "ppo.learning_rate": Float(low=2e-4, high=4e-3, log=True),
    "ppo.hidden": Choice(choices=((64, 64), (128, 128), (256, 256), (128, 128, 128))),
    "ppo.n_steps": Choice(choices=(16, 32, 64, 128)),
    "ppo.batch_size": Choice(choices=(256, 512, 1024)),
    "ppo.n_epochs": Int(low=4, high=16, log=True),
    "ppo.gamma": Float(low=0.95, high=0.995),
    "ppo.gae_lambda": Float(low=0.9, high=0.99),
    "ppo.clip_range": Float(low=0.1, high=0.4),
    "ppo.entropy_coefficient": Float(low=0.0, high=0.01),
    "ppo.initial_log_std": Float(low=-2.5, high=0.0),
}
"""By setting, the values among which to choose; those of `donkey-rl train` are among them."""

"""What a command of a table reads of this package beside its words."""

from __future__ import annotations

import hashlib
import json

from donkey_rl import configuration
from donkey_rl.agents.encoders.config import AutoencoderConfig, CnnEncoderConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.proof.steps import Step

_RECIPE = "--recipe"


def of(step: Step, driver: str = "") -> str:
    """Returns a SHA-256 of the default settings, the recipes and the driver that a command reads.

    Args:
        step: The command.
        driver: SHA-256 of the driver that was named for it, empty where none was.
    """
    named = [step.words[step.words.index(_RECIPE) + 1]] if _RECIPE in step.words else []
    # The second is where a driver races that no run has trained. Of the encoders the first has the
    # lane encoder alone.
    usual = TrainingConfig, EnvironmentConfig, AutoencoderConfig, CnnEncoderConfig
    facts = {
        "defaults": [each().model_dump(mode="json") for each in usual],
        "recipes": [configuration.read_recipe(name) for name in (*named, *step.recipes)],
        **({"driver": driver} if driver else {}),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

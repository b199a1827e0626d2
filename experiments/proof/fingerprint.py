"""What a command of a table reads of this package beside its words."""

from __future__ import annotations

import hashlib
import json

from donkey_rl import configuration
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.proof.steps import Step

_RECIPE = "--recipe"


def of(step: Step) -> str:
    """Returns a SHA-256 of the default settings and of the recipes that a command reads.

    Args:
        step: The command.
    """
    named = [step.words[step.words.index(_RECIPE) + 1]] if _RECIPE in step.words else []
    facts = {
        # The second is where a driver races that no run has trained.
        "defaults": [
            usual().model_dump(mode="json") for usual in (TrainingConfig, EnvironmentConfig)
        ],
        "recipes": [configuration.read_recipe(name) for name in (*named, *step.recipes)],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

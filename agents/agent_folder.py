"""What the folders that algorithms save have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv

from donkey_rl.errors import InputError

FORMAT = 1
"""Version of the folder that `save` of an algorithm writes."""


def description(folder: Path, algorithm: str) -> dict[str, Any]:
    """Returns agent.json of a folder of the right format and algorithm.

    Raises:
        InputError: There is none, or it is of another kind.
    """
    try:
        data = json.loads((folder / "agent.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected an agent folder with agent.json. Received: '{folder}' ({error}). "
            f"Give the folder that {algorithm.upper()}.save wrote."
        ) from error
    if (
        not isinstance(data, dict)
        or data.get("format") != FORMAT
        or data.get("algorithm") != algorithm
    ):
        found = (data.get("algorithm"), data.get("format")) if isinstance(data, dict) else data
        raise InputError(
            f"Expected a {algorithm} agent of format {FORMAT}. Received: {found} in '{folder}'. "
            "Use the version of donkey-rl that wrote it."
        )
    return data


def damaged(folder: Path, error: Exception) -> InputError:
    """Returns the error for a folder that cannot be read to its end."""
    return InputError(
        f"Expected a complete agent folder. Received: '{folder}' ({error}). Save the agent again."
    )


def use(model: BaseAlgorithm, env: GymEnv | str) -> None:
    """Gives a model an environment whose spaces must be those already set.

    Raises:
        InputError: They are others.
    """
    wrapped = model._wrap_env(env, model.verbose)  # type: ignore[arg-type]
    for name in ("observation_space", "action_space"):
        expected, received = getattr(model, name), getattr(wrapped, name)
        if expected != received:
            raise InputError(
                f"Expected the {name} {expected}. Received: {received}. "
                "Use the environment that the agent was trained in."
            )
    model.n_envs = wrapped.num_envs
    model.env = wrapped

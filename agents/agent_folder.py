"""The folder in which an algorithm is saved: Keras weights, plain arrays and JSON, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pydantic
from stable_baselines3.common.type_aliases import GymEnv

from donkey_rl.agents import folders, keras_files, named_arrays
from donkey_rl.agents import spaces as space_json
from donkey_rl.configuration import Config
from donkey_rl.errors import InputError

FORMAT = 1
"""Version of the folder."""


class StoredAgent:
    """`save` and `load` of a Stable-Baselines3 algorithm whose networks are Keras models.

    It stands before the algorithm's own base class. Its `learner` holds the networks under the
    names of `MODELS`, and gives and takes everything else with `state` and `restore`.

    Attributes:
        NAME: Of the algorithm, in the folder.
        CONFIG: Class of its settings.
        MODELS: Names of its networks; those that are None in the learner are left out.
    """

    NAME: ClassVar[str]
    CONFIG: ClassVar[type[Config]]
    MODELS: ClassVar[tuple[str, ...]]

    learner: Any
    config: Any
    observation_space: Any
    action_space: Any
    seed: int | None
    num_timesteps: int
    verbose: int
    n_envs: int
    env: Any
    _n_updates: int

    def networks(self) -> dict[str, Any]:
        """Returns the Keras models by name."""
        found = {name: getattr(self.learner, name) for name in self.MODELS}
        return {name: network for name, network in found.items() if network is not None}

    def save(self, path: str | Path) -> None:
        """Writes the agent as a folder.

        A replay buffer is not part of it.

        Raises:
            StorageError: When the folder cannot be written.
        """
        description = {
            "format": FORMAT,
            "algorithm": self.NAME,
            "config": self.config.model_dump(mode="json"),
            "observation_space": space_json.to_json(self.observation_space),
            "action_space": space_json.to_json(self.action_space),
            "seed": self.seed,
            "num_timesteps": self.num_timesteps,
            "n_updates": self._n_updates,
        }
        with folders.replaced(Path(path)) as draft:
            (draft / "agent.json").write_text(
                json.dumps(description, indent=2) + "\n", encoding="utf-8"
            )
            for name, network in self.networks().items():
                keras_files.save_weights(network, draft / f"{name}.weights.h5")
            np.savez(draft / "optimisers.npz", **self.learner.state())

    @classmethod
    def load(cls, path: str | Path, env: GymEnv | str | None = None, *, verbose: int = 0) -> Self:
        """Reads what `save` wrote.

        Args:
            path: The folder.
            env: To go on learning in; its spaces must be those of the folder.
            verbose: As in the constructor.

        Raises:
            InputError: When the folder is incomplete or damaged, or does not fit the environment.
        """
        folder = Path(path)
        data = _description(folder, cls.NAME)
        try:
            settings = cls.CONFIG(**data["config"])
            model: Any = cls(None, settings, seed=data["seed"], verbose=verbose)  # type: ignore[call-arg]
            model.observation_space = space_json.from_json(data["observation_space"])
            model.action_space = space_json.from_json(data["action_space"])
            model.n_envs = 1
            if env is not None:
                _use(model, env)
            model._setup_model()
            model.num_timesteps = int(data["num_timesteps"])
            model._n_updates = int(data["n_updates"])
            for name, network in model.networks().items():
                keras_files.load_weights(network, folder / f"{name}.weights.h5")
            model.learner.restore(named_arrays.read(folder / "optimisers.npz"))
        except InputError:
            raise
        except (KeyError, OSError, TypeError, ValueError, pydantic.ValidationError) as error:
            raise InputError(
                f"Expected a complete agent folder. Received: '{folder}' ({error}). "
                "Save the agent again."
            ) from error
        loaded: Self = model
        return loaded


def _description(folder: Path, algorithm: str) -> dict[str, Any]:
    """Returns agent.json of a folder of the right format and algorithm."""
    try:
        data = json.loads((folder / "agent.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
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


def _use(model: Any, env: GymEnv | str) -> None:
    """Gives a model an environment whose spaces must be those already set."""
    wrapped = model._wrap_env(env, model.verbose)
    for name in ("observation_space", "action_space"):
        expected, received = getattr(model, name), getattr(wrapped, name)
        if expected != received:
            raise InputError(
                f"Expected the {name} {expected}. Received: {received}. "
                "Use the environment that the agent was trained in."
            )
    model.n_envs = wrapped.num_envs
    model.env = wrapped

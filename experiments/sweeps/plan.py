"""What a sweep is: what each of its trials trains and races, and what they may vary."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import pydantic
from pydantic import Field

import donkey_rl
from donkey_rl import configuration, search_space
from donkey_rl.agents.ppo.search_space import SPACE as PPO_SPACE
from donkey_rl.agents.sac.search_space import SPACE as SAC_SPACE
from donkey_rl.configuration import Config
from donkey_rl.envs import simulators
from donkey_rl.envs.simulator import track
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import beginning, own_code_checks, splits
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.config import AGENTS, TrainingConfig
from donkey_rl.search_space import SearchSpace

Pruner = Literal["wilcoxon", "hyperband", "none"]

SPACES: dict[str, SearchSpace] = {"sac": SAC_SPACE, "ppo": PPO_SPACE}
"""What is varied of each agent unless a file says otherwise."""

STEPS = {"sac": 40_000, "ppo": 120_000}
"""Environment steps of a training of each agent, unless a recipe or a setting says otherwise."""

BUDGET: dict[str, Any] = {
    "check": {"every": 8_000, "every_later": 8_000},
    "checkpoint": {"every": 16_000},
    "evaluation": {"races": 10},
}
"""What else is short in the trainings of a sweep, unless a recipe or a setting says otherwise."""

_SHORT = (*configs.flat(BUDGET), "steps")

_KEPT = ("agent", "track", "seed", "simulator", "evaluation.", "checkpoint.", "check.", "link.")
"""Settings that a search space cannot hold: the sweep sets them, or nothing depends on them."""


class Cell(NamedTuple):
    """One training of a trial.

    Attributes:
        track: Where it trains and races.
        seed: Of the training.
    """

    track: str
    seed: int

    @property
    def name(self) -> str:
        """What its run is noted under in a trial."""
        return f"{self.track} seed {self.seed}"


class SweepRequest(Config):
    """What `donkey-rl sweep` is asked.

    Attributes:
        study: Name of the study.
        agent: The algorithm; by default that of the recipe.
        track: Tracks, with commas; by default that of the recipe.
        steps: Environment steps of each training.
        recipe: What the first trial drives by, as `configuration.read_recipe` takes it.
        settings: Assignments `key=value` over it.
        space: A YAML file in place of the agent's own search space.
        seeds: Trainings of a trial on each track.
        pruner: What ends a trial early.
    """

    study: str
    agent: str | None = None
    track: str | None = None
    steps: int | None = Field(default=None, ge=1)
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    space: pathlib.Path | None = None
    seeds: int = Field(default=2, ge=1, le=100)
    pruner: Pruner = "wilcoxon"


class SweepPlan(Config):
    """A sweep: all that its workers, on whichever machine, agree on.

    Attributes:
        study: Its name.
        config: What every trial starts from, and the first one is.
        tracks: Where each trial trains and races.
        seeds: Trainings of a trial on each track; their seeds follow that of `config`.
        space: What the trials vary.
        pruner: What ends a trial early: `wilcoxon` by its races, `hyperband` by the checks while
            it learns.
        most_disqualified: Share of a trial's races that may end in a disqualification.
        budget: Settings of `config` that are short for the sweep alone, with what they are in
            other trainings; None is the default.
    """

    study: str
    config: TrainingConfig
    tracks: tuple[str, ...] = Field(min_length=1, max_length=32)
    seeds: int = Field(default=2, ge=1, le=100)
    space: SearchSpace
    pruner: Pruner = "wilcoxon"
    most_disqualified: float = Field(default=0.05, ge=0.0, le=1.0)
    budget: dict[str, int | None] = dict.fromkeys(_SHORT)

    @pydantic.model_validator(mode="after")
    def _trains_on_each_track(self) -> Self:
        for cell in self.cells():
            self.training(cell, {})
        return self

    def cells(self) -> tuple[Cell, ...]:
        """Returns the trainings of a trial: the first seed on every track, then the next."""
        first = self.config.seed
        seeds = range(first, first + self.seeds)
        return tuple(Cell(name, seed) for seed in seeds for name in self.tracks)

    def training(self, cell: Cell, values: Mapping[str, Any]) -> TrainingConfig:
        """Returns what a training of a trial is told.

        Args:
            cell: Which of them.
            values: What the trial varies, by dotted key.

        Raises:
            ConfigurationError: The values do not fit together.
        """
        return configuration.with_values(
            self.config, {**values, "track": cell.track, "seed": cell.seed}
        )

    def identity(self) -> dict[str, Any]:
        """Returns what all that join a study must agree on, as JSON knows it."""
        code = beginning.hashes_of_code(self.config)
        roads = beginning.hash_of_track_file(",".join(self.tracks))
        data = beginning.hashes_of_data(self.config)
        return {
            "agent": self.config.agent,
            "tracks": list(self.tracks),
            "seeds": self.seeds,
            "pruner": self.pruner,
            "most_disqualified": self.most_disqualified,
            "space": {key: each.model_dump(mode="json") for key, each in self.space.items()},
            "settings": configs.flat(self.config.model_dump(mode="json")),
            **{beginning.fact(key): digest for key, digest in code.items()},
            **({"track_file": roads} if roads is not None else {}),
            **({"data": data} if data else {}),
            "version": donkey_rl.__version__,
        }


def make(request: SweepRequest) -> SweepPlan:
    """Returns the sweep that is asked for.

    Raises:
        InputError: A file cannot be read.
        ConfigurationError: A setting, the space, or what else was typed does not fit.
    """
    config = _config(request)
    # A recipe's several tracks are those of one training, which a driver learns together.
    tracks = splits.tracks(request.track) if request.track else ()
    for name in tracks:
        track.load(name)
    if request.space is None:
        space = SPACES[config.agent]
    else:
        space = search_space.read(request.space, config)
    shape = (f"{config.agent}.hidden", f"{config.agent}.cnn.")
    for key in space:
        if config.steps == 0 and key.startswith(config.agent) and not key.startswith(shape):
            raise ConfigurationError(
                f"The search space has {key}, which nothing reads where steps=0: such a driver "
                "learns by its lessons alone. Give --steps, or a --space of imitation.* and "
                "encoder.*."
            )
        if key.startswith(_KEPT):
            raise ConfigurationError(
                f"A search space cannot hold {key}, which the sweep itself sets. Leave it out."
            )
        if key.partition(".")[0] in {*AGENTS} - {config.agent}:
            raise ConfigurationError(
                f"The search space has {key}, which {config.agent} never reads. Leave it out, or "
                f"give --agent {key.partition('.')[0]}."
            )
    return configuration.validate(
        SweepPlan,
        {
            "study": request.study,
            "config": config,
            "tracks": tuple(dict.fromkeys(map(configs.lasting, tracks or [config.track]))),
            "seeds": request.seeds,
            "space": search_space.widened(space, config),
            "pruner": request.pruner,
            "budget": _budget(request, space),
        },
    )


def _budget(request: SweepRequest, space: SearchSpace) -> dict[str, int | None]:
    """Returns what is short for the sweep alone: not what a recipe, `--set` or the space gives."""
    nested = configuration.read_recipe(request.recipe, request.agent) if request.recipe else {}
    recipe = configs.flat(nested)
    kept = {*space, *_typed(request.settings)}
    own: dict[str, int | None] = {key: None for key in _SHORT if key not in {*kept, *recipe}}
    if request.steps is not None and "steps" not in kept:
        own["steps"] = recipe.get("steps")
    return own


def _typed(settings: Sequence[str]) -> dict[str, str]:
    """Returns what was typed with `--set`, by key."""
    parts = (text.partition("=") for text in settings)
    return {key.strip(): value.strip() for key, _, value in parts}


def _config(request: SweepRequest) -> TrainingConfig:
    """Returns what the first trial drives by: the budget of a sweep, below what was typed."""
    options = {
        "agent": request.agent,
        "steps": request.steps,
        "track": request.track.partition(",")[0].strip() if request.track else None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    recipe = configuration.read_recipe(request.recipe, request.agent) if request.recipe else {}
    named = _typed(request.settings)
    if request.track and "track" in named:
        raise InputError(
            f"Tracks are named once. Received: --track {request.track} and "
            f"--set track={named['track']}. Give --track alone."
        )
    agent = named.get("agent") or request.agent or recipe.get("agent") or TrainingConfig().agent
    usual = {"steps": STEPS[agent]} if isinstance(agent, str) and agent in STEPS else {}
    layers = BUDGET, usual, recipe, given
    config = configuration.layered(TrainingConfig, layers, request.settings)
    if config.simulator != simulators.EMBEDDED:
        raise InputError(
            f"A sweep drives the embedded simulator. Received: simulator={config.simulator}. "
            "Leave it out."
        )
    own_code_checks.check(config)
    return beginning.lasting(config)

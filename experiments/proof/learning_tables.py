"""Tables of how soon agents learn to drive a clean lap."""

from __future__ import annotations

from typing import Final

from donkey_rl.experiments.proof import reading_trainings
from donkey_rl.experiments.proof.cells import with_median
from donkey_rl.experiments.proof.steps import Amounts, Step, Table, measured

_CLEAN_LAP: Final = (
    "`generated_track` with `donkey_2022`, from camera images. The first clean lap, the whole car "
    "on the road, is driven by the frozen, deterministic policy from a standing start in one of "
    "the races of a check; the time counts from the start of the process: imports, frames, "
    "encoder, learning and checks."
)


def first_lap(amounts: Amounts) -> Table:
    """The shortest way to a first clean lap."""
    return _by_seed(amounts, "A first clean lap soon", "sac_fast")


def thrifty(amounts: Amounts) -> Table:
    """A first clean lap from few steps."""
    note = " Frames of the encoder, which nobody drives, are no steps."
    return _by_seed(amounts, "A first clean lap from few steps", "sac_thrifty", note)


def pixels(amounts: Amounts) -> Table:
    """PPO that learns to see by itself."""
    return _by_seed(amounts, "PPO end to end from the camera", "ppo_pixels")


def _by_seed(amounts: Amounts, title: str, recipe: str, note: str = "") -> Table:
    """Returns the trainings of a recipe, seed by seed, and their medians."""
    steps = tuple(
        Step(
            f"seed-{seed}",
            ("train", "--recipe", recipe, "--seed", str(seed), "--json"),
            reading_trainings.of_seed(seed),
        )
        for seed in range(amounts.seed, amounts.seed + amounts.seeds)
    )
    return Table(title, steps, _CLEAN_LAP + note, with_median)


def agents(amounts: Amounts) -> Table:
    """How far each agent comes in a minute."""
    words = ("--seconds", "60", "--seeds", str(amounts.seeds))
    note = (
        "Each agent has 60 s of wall time, its encoder included, on `generated_track` with "
        "`donkey_2022`, 64 cars (`ppo cnn`: 128), defaults otherwise, seeds from 0 on; its best "
        "checked policy then drives ten races of three laps. Stable-Baselines3's SAC has its own "
        "defaults but as many updates for each step as ours. Times count from the start of the "
        "encoder. Medians over the seeds, where a seed without a lap counts as the worst."
    )
    step = measured("driving", reading_trainings.agents, *words, recipes=("ppo_pixels",))
    return Table("Agents beside each other", (step,), note)

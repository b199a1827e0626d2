"""The command `donkey-rl ensemble`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_completion import one_of
from donkey_rl.cli_output import JsonOption, at_work, loading, print_json
from donkey_rl.errors import InputError

if TYPE_CHECKING:
    from donkey_rl.experiments.ensembles import Joining
    from donkey_rl.experiments.progress import ProgressDisplay

app = typer.Typer(add_completion=False)

_RACES = 30


@app.command(epilog="Example: donkey-rl ensemble 3f2a 81c0 77de --evaluator critic --slowing 2")
def ensemble(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs (ids, the starts of them, or names), folders.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the ensemble's run.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="W,W", help="How much each counts in a mean. Default: alike."),
    ] = None,
    evaluator: Annotated[
        str,
        typer.Option(
            help="What makes one action of theirs: mean, median or critic.",
            autocompletion=one_of("mean", "median", "critic"),
        ),
    ] = "mean",
    temperature: Annotated[
        float | None,
        typer.Option(min=0.01, help="Of critic: the lower, the more the best action counts."),
    ] = None,
    slowing: Annotated[
        float,
        typer.Option(min=0.0, help="Throttle to take off where they disagree more than usual."),
    ] = 0.0,
    train: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Train N members first, alike but for their seeds."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="With --train: as in train.", autocompletion=cli_completion.recipe),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --train: as in train."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="With --train: of the first; the others have the next."),
    ] = None,
    choose: Annotated[
        bool,
        typer.Option(
            "--choose",
            help="Keep only those that race best together, and say whether that beats the best "
            "of them alone.",
        ),
    ] = False,
    races: Annotated[
        int | None,
        typer.Option(
            min=2, help="With --choose: races to judge by, from other starts. Default: 30."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make one driver of several, which an evaluator makes one action of.

    It is kept as a run of its own, which evaluate, export and race take as any
    other. The members see the same and drive the same car.
    """
    joining: dict[str, Any] = {"evaluator": evaluator, "slowing": slowing}
    if weights is not None:
        joining["weights"] = _numbers(weights)
    if temperature is not None:
        joining["temperature"] = temperature
    if choose and (weights is not None or evaluator != "mean" or slowing):
        raise InputError(
            "--choose finds members and weights of a mean. Leave --weights, --evaluator and "
            "--slowing out, or --choose."
        )
    if temperature is not None and evaluator != "critic":
        raise InputError(
            f"--temperature is of the evaluator critic. Received: {evaluator}. Leave it out."
        )
    if races is not None and not choose:
        raise InputError("--races are to choose by. Give --choose too, or leave them out.")
    training = _Training(train, recipe, setting or (), seed)
    with at_work(as_json) as progress:
        from donkey_rl import configuration

        with loading(progress):
            from donkey_rl.experiments import ensembles

        how = configuration.validate(ensembles.Joining, joining)
        training.check(runs or (), how)
        found = [*(runs or ()), *training.trained(progress)]
        result = _chosen(found, races or _RACES, name, progress) if choose else None
        if result is None:
            result = ensembles.make(found, how, progress, name).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import result_tables

    result_tables.show_ensemble(result)


class _Training(NamedTuple):
    """What is to be trained first."""

    members: int | None
    recipe: str | None
    settings: Sequence[str]
    seed: int | None

    def check(self, runs: Sequence[str], how: Joining) -> None:
        """Finds what is typed wrongly before anything is trained."""
        if self.members is None:
            if self.recipe is not None or self.settings or self.seed is not None:
                raise InputError(
                    "--recipe, --set and --seed are of members to train. Give --train N too."
                )
            return
        from donkey_rl import configuration
        from donkey_rl.agents import evaluators
        from donkey_rl.experiments import ensembles
        from donkey_rl.experiments.config import TrainingConfig

        named = ensembles.load(runs)
        evaluators.check_weights(len(named) + self.members, how.weights, how.evaluator)
        if any(each.partition("=")[0].strip() == "seed" for each in self.settings):
            raise InputError(
                "The members differ by their seeds, which follow --seed. Received: --set seed=... "
                "Give --seed in its place."
            )
        values = {} if self.recipe is None else configuration.read_recipe(self.recipe)
        config = configuration.validate(TrainingConfig, values)
        config = configuration.with_settings(config, self.settings)
        # The last one's: none of them may be one that training refuses.
        last = {"seed": (self.seed or 0) + self.members - 1}
        ensembles.check_planned(configuration.with_values(config, last), named)
        if how.evaluator == "critic" and (config.agent != "sac" or config.encoder.name == "cnn"):
            raise InputError(
                "The evaluator critic asks critics, which drivers of SAC have whose encoder was "
                f"trained before the policy. Received: agent {config.agent}, encoder "
                f"{config.encoder.name}. Choose --evaluator mean or median."
            )

    def trained(self, progress: ProgressDisplay) -> list[str]:
        """Trains the members; returns their runs."""
        if self.members is None:
            return []
        from donkey_rl.experiments import ensemble_training

        words = [] if self.recipe is None else ["--recipe", self.recipe]
        words += [word for each in self.settings for word in ("--set", each)]
        return ensemble_training.train(self.members, words, self.seed or 0, progress)


def _chosen(
    runs: Sequence[str], races: int, name: str | None, progress: ProgressDisplay
) -> dict[str, Any]:
    """Chooses among drivers those that race best together."""
    from donkey_rl.experiments.sweeps import committee

    found = committee.choose(runs, committee.CommitteePlan(judged_races=races), progress)
    made = committee.keep(found, name)
    return {**made.model_dump(mode="json"), "committee": found.as_json()}


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--weights are numbers with commas, such as 2,1,1. Received: '{text}'."
        ) from None

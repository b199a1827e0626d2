"""What trials of a sweep do with the races of their trainings, which are made by hand here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from donkey_rl import search_space
from donkey_rl.errors import DivergedError, InputError, NothingLearnedError
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.membership import Membership
from donkey_rl.experiments.sweeps import pictures, results, studies, trial
from donkey_rl.experiments.sweeps import storage as storages
from tests.hand_made_trials import Outcome, Races, Sweep, plan

Make = Callable[..., Sweep]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return functools.partial(Sweep, tmp_path, monkeypatch)


def one_by_one(outcomes: Sequence[Outcome | Exception]) -> Races:
    """Trainings that come to these, in their order."""
    left: Iterator[Outcome | Exception] = iter(outcomes)

    def race(config: TrainingConfig, member: Membership) -> Outcome:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return race


def steady(score: float, disqualified: float = 0.0) -> Outcome:
    """Ten races, of which no two score alike."""
    return Outcome([score + 0.1 * k for k in range(10)], disqualified)


def test_the_first_trial_is_the_recipe(sweep: Make) -> None:
    made = sweep(one_by_one([steady(20.0)] * 2), settings=("sac.gamma=0.9", "sac.hidden=48,48"))
    (first,) = made.run(1)
    assert first.params["sac.gamma"] == 0.9
    assert first.params["sac.hidden"] == "48,48"
    # Seed by seed what `donkey-rl train` would be told.
    assert made.configs == [made.plan.config.model_copy(update={"seed": seed}) for seed in (0, 1)]


def test_others_try_something_else_within_the_space(sweep: Make) -> None:
    made = sweep(one_by_one([steady(20.0)] * 8), pruner="none")
    made.run(4)
    own = made.plan.config
    for config in made.configs[2:]:
        differing = [
            key
            for key in made.plan.space
            if search_space.value_at(config, key) != search_space.value_at(own, key)
        ]
        assert differing
        assert config.model_copy(update={"sac": own.sac, "seed": own.seed}) == own


def test_every_track_is_driven_with_every_seed(sweep: Make) -> None:
    made = sweep(one_by_one([steady(20.0)] * 6), track="warren, warehouse,warren", seeds=3)
    made.run(1)
    assert [(config.track, config.seed) for config in made.configs] == [
        ("warren", 0), ("warehouse", 0), ("warren", 1), ("warehouse", 1), ("warren", 2),
        ("warehouse", 2),
    ]  # fmt: skip


def test_a_trial_is_given_up_once_its_races_are_surely_worse(sweep: Make) -> None:
    made = sweep(
        one_by_one([steady(20.0), steady(22.0), steady(15.0), steady(21.0), steady(23.0)])
    )
    first, worse, better = made.run(3)
    # (20 + ... + 20.9 + 22 + ... + 22.9) / 20 = 21.45.
    assert first.value == pytest.approx(21.45)
    # After the first seed, all ten races below those of the best: p = 0.001.
    assert worse.state is TrialState.PRUNED
    assert list(worse.intermediate_values) == list(range(10))
    assert better.value == pytest.approx(22.45)
    assert made.lines[1].startswith("trial 1: given up, 15.45 so far")


def test_a_trial_whose_trainings_are_all_done_is_not_given_up(sweep: Make) -> None:
    # The first seed is as good as the best, the second surely worse; no third is spared.
    worse = steady(15.0)
    made = sweep(one_by_one([steady(20.0), steady(22.0), steady(20.0), worse]))
    _, second = made.run(2)
    assert second.value == pytest.approx((20.45 + 15.45) / 2)


def test_races_that_are_worse_now_and_then_end_nothing(sweep: Make) -> None:
    mixed = Outcome([20.0, 25.0] * 5)
    made = sweep(one_by_one([Outcome([22.0] * 10)] * 2 + [mixed] * 2))
    assert [trial.state for trial in made.run(2)] == [TrialState.COMPLETE] * 2


def test_checks_of_a_training_end_it_with_hyperband(sweep: Make) -> None:
    def race(config: TrainingConfig, member: Membership) -> Outcome:
        score = 100.0 * config.sac.gamma
        for steps in range(8_000, config.steps + 1, 8_000):
            member.checked(steps, score)
        return steady(score)

    made = sweep(race, pruner="hyperband", seeds=1)
    trials = made.run(16)
    ended = [trial for trial in trials if trial.state is TrialState.PRUNED]
    whole = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert len(ended) + len(whole) == 16
    assert ended
    # Steps of the checks, and no races.
    assert all(set(trial.intermediate_values) <= set(range(0, 40_001, 8_000)) for trial in trials)
    assert all(max(trial.intermediate_values) < 40_000 for trial in ended)
    assert max(trials, key=lambda trial: trial.params["sac.gamma"]) in whole


@pytest.mark.parametrize("kind", [DivergedError, NothingLearnedError])
def test_a_training_that_diverges_is_a_failed_trial_and_no_more(
    sweep: Make, kind: type[Exception]
) -> None:
    made = sweep(one_by_one([steady(20.0), kind("nan at step 7"), *[steady(21.0)] * 2]))
    failed, after = made.run(2)
    assert failed.state is TrialState.FAIL
    assert failed.user_attrs["reason"] == "nan at step 7"
    assert after.state is TrialState.COMPLETE
    assert results.count([failed, after]).failed == 1


def test_too_many_disqualifications_make_a_trial_unfit(sweep: Make) -> None:
    # One of twenty is allowed, two are not.
    made = sweep(
        one_by_one([steady(20.0, 0.0), steady(20.0, 0.1), steady(30.0, 0.1), steady(30.0, 0.1)])
    )
    fit, unfit = made.run(2)
    assert fit.constraints["disqualified"] == pytest.approx(0.0)
    assert unfit.constraints["disqualified"] == pytest.approx(0.05)
    best = results.best_of([fit, unfit], made.plan)
    assert best is not None
    assert (best.number, best.feasible, best.disqualified) == (0, True, pytest.approx(0.05))
    nearest = results.best_of([unfit], made.plan)
    assert nearest is not None
    assert not nearest.feasible


def test_after_ctrl_c_the_next_attempt_goes_on_with_the_same_run(sweep: Make) -> None:
    made = sweep(one_by_one([Outcome(stopped=True), steady(20.0), steady(20.0)]))
    with pytest.raises(KeyboardInterrupt):
        made.run(1)
    handed_back, waiting = made.study.get_trials()
    assert handed_back.state is TrialState.FAIL
    assert waiting.state is TrialState.WAITING
    trials = made.run(1)
    assert made.resumed == ["run1"]
    assert [config.seed for config in made.configs] == [0, 0, 1]
    assert results.count(trials) == results.Counts(complete=1)


def test_a_run_that_its_former_worker_still_holds_is_waited_for(
    sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_BUSY_PAUSE_S", 0.01)
    outcomes = [Outcome(stopped=True), Outcome(stopped=True), steady(20.0), steady(20.0)]
    made = sweep(one_by_one(outcomes))
    with pytest.raises(KeyboardInterrupt):
        made.run(1)
    made.busy = 2
    with pytest.raises(KeyboardInterrupt):
        made.run(1)
    assert made.resumed == ["run1"] * 3
    # One that never lets go costs its checkpoints, not the trial.
    monkeypatch.setattr(trial, "_BUSY_S", 0.0)
    made.busy = 1000
    trials = made.run(1)
    assert results.count(trials) == results.Counts(complete=1)
    assert any("begins anew: Run is being trained" in line for line in made.lines)


def test_the_best_is_known_by_its_runs(sweep: Make) -> None:
    made = sweep(one_by_one([steady(20.0), steady(20.0), steady(24.0), steady(23.0)]))
    trials = made.run(2)
    best = results.best_of(trials, made.plan)
    assert best is not None
    assert best.runs == {"generated_track seed 0": "run3", "generated_track seed 1": "run4"}
    assert best.run_id == "run3"
    assert results.recipe_score(trials) == pytest.approx(20.45)
    assert results.importances(made.study) is None
    recipe = results.recipe_of(made.plan, best.params | {"sac.gamma": 0.97})
    assert recipe["agent"] == "sac"
    assert recipe["sac"]["gamma"] == 0.97
    assert not {"steps", "check", "evaluation", "checkpoint", "seed"} & set(recipe)


def test_pictures_and_importances_of_a_dozen_trials(sweep: Make, tmp_path: Path) -> None:
    def race(config: TrainingConfig, member: Membership) -> Outcome:
        return steady(1000.0 * config.sac.gamma)

    made = sweep(race, pruner="none", seeds=1)
    trials = made.run(12)
    shares = results.importances(made.study)
    assert shares is not None
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == set(made.plan.space)
    files = pictures.draw(trials, made.plan, shares, tmp_path)
    assert set(files) == {"history", "settings", "importances"}
    for name in files.values():
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"agent": "ppo"}, "agent sac, not ppo"),
        ({"track": "warren"}, "tracks ['generated_track'], not ['warren']"),
        ({"seeds": 3}, "seeds 2, not 3"),
        ({"pruner": "none"}, "pruner wilcoxon, not none"),
        ({"settings": ("cars=8",)}, "cars 64, not 8"),
        (
            {"space": "sac.gamma: {low: 0.5, high: 0.99}"},
            "space.sac.learning_rate.low 0.0003, not none",
        ),
    ],
)
def test_another_study_of_the_name_is_refused(
    tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    storage = storages.open_storage(str(tmp_path / "hand.journal"))
    studies.join(plan(), storage)
    if "space" in values:
        path = tmp_path / "space.yaml"
        path.write_text(values["space"])
        values = {"space": path}
    with pytest.raises(InputError) as caught:
        studies.join(plan(**values), storage)
    assert said in str(caught.value)
    assert "--study" in str(caught.value)


def test_whoever_wants_the_same_joins(tmp_path: Path) -> None:
    storage = storages.open_storage(str(tmp_path / "hand.journal"))
    studies.join(plan(), storage)
    joined = studies.join(plan(), storages.open_storage(str(tmp_path / "hand.journal")))
    assert [trial.state for trial in joined.get_trials()] == [TrialState.WAITING]

"""Search spaces: read from files, checked against settings, widened to hold the recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from donkey_rl import configuration, search_space
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.sweeps.plan import SPACES, SweepPlan, SweepRequest, make
from donkey_rl.search_space import Choice, Float, Int

CONFIG = TrainingConfig()


def read(tmp_path: Path, text: str) -> search_space.SearchSpace:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return search_space.read(path, CONFIG)


@pytest.mark.parametrize("agent", list(SPACES))
def test_the_spaces_of_the_agents_fit_and_hold_the_defaults(agent: str) -> None:
    space = SPACES[agent]
    search_space.check(space, CONFIG)
    assert search_space.widened(space, CONFIG) == space
    assert all(key.startswith(f"{agent}.") for key in space)


def test_a_file_says_by_the_setting_what_kind_of_number_is_meant(tmp_path: Path) -> None:
    text = (
        "sac.gamma: {low: 0.9, high: 0.99}\n"
        "sac.n_steps: {low: 1, high: 5, log: true}\n"
        "sac.hidden: {choices: [[64], [64, 64]]}\n"
        "sac.target_entropy: {choices: [null, -1.0]}\n"
    )
    assert read(tmp_path, text) == {
        "sac.gamma": Float(low=0.9, high=0.99),
        "sac.n_steps": Int(low=1, high=5, log=True),
        "sac.hidden": Choice(choices=((64,), (64, 64))),
        "sac.target_entropy": Choice(choices=(None, -1.0)),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sac.gama: {low: 0.9, high: 0.99}", "'sac.gama'. Did you mean 'sac.gamma'?"),
        ("sac.gamma: {low: 0.9, high: 1.5}", "sac.gamma should be less than 1. Received: 1.5"),
        ("sac.hidden: {low: 1, high: 3}", "sac.hidden is no number"),
        ("sac.hidden: {choices: [[64], [0]]}", "sac.hidden[0] should be greater than or equal"),
        ("sac.n_steps: {low: 1.5, high: 3}", "low should be a valid integer"),
        ("sac.gamma: {lo: 0.9, high: 0.99}", "Unknown setting 'lo'. Did you mean 'low'?"),
        ("sac.gamma: {low: 0.99, high: 0.9}", "low must be below high"),
        ("sac.entropy: {low: 0.0, high: 1.0, log: true}", "low must be above 0"),
        ("sac.gamma: 0.9", "Received: 0.9"),
        ("", "is empty"),
        ("sac.gamma", "should be a mapping"),
        ("a: {low: 1, high: 2}\na: {low: 1, high: 2}", "a second time"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"search space .*none.yaml' does not exist"):
        search_space.read(tmp_path / "none.yaml", CONFIG)


def test_a_space_is_widened_to_hold_the_recipe() -> None:
    config = configuration.with_settings(CONFIG, ["sac.gamma=0.9", "sac.hidden=[32]"])
    wide = search_space.widened(SPACES["sac"], config)
    assert wide["sac.gamma"] == Float(low=0.9, high=0.995)
    assert wide["sac.hidden"].ends[-1] == (32,)
    assert wide["sac.tau"] == SPACES["sac"]["sac.tau"]


def test_a_recipe_without_a_number_has_no_place_in_a_range() -> None:
    with pytest.raises(ConfigurationError, match=r"--set sac.target_entropy=VALUE"):
        search_space.widened({"sac.target_entropy": Float(low=-3.0, high=-1.0)}, CONFIG)


def test_true_is_not_one_among_choices() -> None:
    choice = Choice(choices=(1, True, (2, 3)))
    assert choice.labels == (1, True, "2,3")
    assert choice.value_of(True) is True
    assert choice.value_of("2,3") == (2, 3)
    wider = Choice(choices=(0, 1)).with_value(False)
    assert wider is not None
    assert wider.choices == (0, 1, False)


@pytest.mark.parametrize("agent", list(SPACES))
def test_a_plan_goes_to_json_and_back(agent: str) -> None:
    plan = make(SweepRequest(study="x", agent=agent))
    stored: dict[str, Any] = json.loads(json.dumps(plan.model_dump(mode="json")))
    back = configuration.validate(SweepPlan, stored)
    assert back == plan
    assert [type(each) for each in back.space.values()] == [
        type(each) for each in plan.space.values()
    ]

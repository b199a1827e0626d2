"""The pages of the agents explain every name that these log while they learn."""

from __future__ import annotations

import re
from pathlib import Path

import gymnasium
import pytest
from stable_baselines3.common.logger import KVWriter, Logger

from donkey_rl.agents.encoders import lane
from donkey_rl.agents.encoders.report import EncoderReport
from donkey_rl.agents.ppo import learner
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC

DOCS = Path(__file__).parents[1] / "docs"


class Names(KVWriter):
    """Keeps the names of all that is logged."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def write(self, key_values, key_excluded, step=0) -> None:  # type: ignore[no-untyped-def]
        self.found |= set(key_values)


def explained(page: str, heading: str) -> set[str]:
    """The names in the first column of the tables of a section and of those below it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    level = heading.split()[0]
    section = re.split(
        rf"^#{{1,{len(level)}}} ", text.split(f"{heading}\n")[1], flags=re.MULTILINE
    )
    cells = re.findall(r"^\| ([^|]+) \|", section[0], flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([a-z_]+/\w+)`", cell)}


def logged_by(agent: SAC | PPO, steps: int) -> set[str]:
    names = Names()
    agent.set_logger(Logger(None, [names]))
    agent.learn(steps, log_interval=1)
    return names.found


def small(name: str) -> tuple[SAC | PPO, int, set[str]]:
    """An agent, how long it learns here, and what it logs under other circumstances."""
    pendulum = gymnasium.make("Pendulum-v1", max_episode_steps=20)
    if name == "sac":
        config = SACConfig(hidden=(8,), batch_size=8, learning_starts=8)
        return SAC(pendulum, config, seed=0), 60, {"train/updates_dropped"}
    config = PPOConfig(hidden=(8,), n_steps=40, batch_size=20, n_epochs=1, anchor=0.1)
    return PPO(pendulum, config, seed=0), 80, {f"train/{learner.AGREEMENT_METRIC}"}


@pytest.mark.parametrize("name", ["sac", "ppo"])
def test_every_logged_name_is_explained_and_no_other(name: str) -> None:
    agent, steps, besides = small(name)
    names = logged_by(agent, steps) | besides
    own = explained(f"agents/{name}.md", "## Logged")
    common = explained("tracking.md", "### What a training logs")
    assert names - own - common == set()
    assert own - names == set()


def test_what_lessons_log_is_explained() -> None:
    code = (DOCS.parent / "experiments" / "demonstrations.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"(imitation/\w+)"', code))
    assert len(names) > 5
    assert explained("agents/imitation.md", "## Logged") == names


def test_what_encoders_report_is_explained() -> None:
    found = dict.fromkeys(lane.SURFACES, 0.5)
    report = EncoderReport({"NAME": 0.9}, {"NAME": 0.1}, (0.1,), 64, 1.0, found)
    assert explained("agents/lane_encoder.md", "## Report") == set(report.metrics())

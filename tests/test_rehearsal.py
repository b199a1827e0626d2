"""A whole rehearsal: host, cars and link are processes and sockets as on the evening."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from donkey_rl.errors import InputError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.rehearsal import evening
from donkey_rl.race_server.rehearsal.plan import RehearsalPlan

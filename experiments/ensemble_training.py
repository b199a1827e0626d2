"""Training of several drivers that are to be joined, one after another."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments.progress import ProgressDisplay

_LOOK_S = 1.0
"""How often a training is looked at."""


def train(count: int, words: Sequence[str], seed: int, progress: ProgressDisplay) -> list[str]:
    """Trains drivers that differ by their seeds, each in a process of its own.

    So each has a clock and a memory of its own, as if it had been trained by hand.

    Args:
        count: How many.
        words: Of `donkey-rl train`, less seed and `--json`.
        seed: Of the first; the others have the next ones.
        progress: Says which one is trained.

    Returns:
        Their runs.

    Raises:
        DonkeyRLError: A training failed or was stopped; the message names the runs so far.
    """
    runs: list[str] = []
    for number in range(count):
        progress.message(f"member {number + 1} of {count}, seed {seed + number}")
        command = [sys.executable, "-m", "donkey_rl", "train", *words]
        command += ["--seed", str(seed + number), "--json"]
        result = _carried_out(command)
        runs += [result["run_id"]] if "run_id" in result else []
        if result["stopped"]:
            kept = f" Kept are: {' '.join(runs)}." if runs else ""
            raise DonkeyRLError(
                f"Expected {count} trainings to end. Received: number {number + 1} ended early, "
                f"see above.{kept} Join runs that are there with `donkey-rl ensemble RUN RUN`, "
                "or train anew."
            )
    return runs


def _said(process: subprocess.Popen[bytes]) -> bytes:
    """Returns all that a process says, once it has ended; an interruption loses nothing of it."""
    while True:
        # Without a limit, Windows reads in one call, which Ctrl-C does not end but whose answer
        # it drops.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_LOOK_S)[0]


def _carried_out(command: Sequence[str]) -> dict[str, Any]:
    """Returns what a training reports, `stopped` alone where it has failed.

    A Ctrl-C that ends this process has come to the training too, which stores what it has; a
    signal to this process alone is handed on.
    """
    stopped = False
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            said = _said(process)
        except KeyboardInterrupt:
            stopped = True
            if os.name == "posix":
                # One that is ending heeds no second one.
                process.terminate()
            said = _said(process)
    if process.returncode != 0:
        return {"stopped": True}
    result: dict[str, Any] = json.loads(said)
    # Ctrl-C ends all of them, also where this one had just come to its end.
    return result | ({"stopped": True} if stopped else {})

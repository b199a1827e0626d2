"""A probe for cues as part of an evaluation: checked beforehand, kept in the driver's run."""

from __future__ import annotations

import pathlib
import tempfile

from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments.cues.probe import probe
from donkey_rl.experiments.cues.report import CueReport, ProbePlan
from donkey_rl.experiments.cues.stills import draw_places
from donkey_rl.experiments.drivers import Entrant
from donkey_rl.experiments.evaluation_races import place_name
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.progress import ProgressDisplay


def check(config: EnvironmentConfig) -> None:
    """Checks that a driver can be probed on a track, before anything is driven.

    Raises:
        InputError: The track has no bends, or the simulator is not the embedded one.
    """
    draw_places(config, 1, 0)


def run_probe(
    entrant: Entrant,
    config: EnvironmentConfig,
    plan: ProbePlan,
    run: Run,
    progress: ProgressDisplay,
) -> CueReport:
    """Probes a driver and stores report, pictures and figures in a run.

    Args:
        entrant: The driver.
        config: Track, car and camera.
        plan: How thoroughly.
        run: Where to.
        progress: Shows how far it is.

    Raises:
        DriverError: The driver failed.
        StorageError: Something could not be written.
    """
    name = f"cues-{place_name(config.track)}-seed{plan.seed}"
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as place:
        folder = pathlib.Path(place) / name
        folder.mkdir()
        report = probe(entrant, config, plan, folder, progress)
        run.log_artifact(folder)
    figures: dict[str, float | None] = {}
    for each in report.cues:
        figures[f"{name}/{each.cue}/towards"] = each.towards
        figures[f"{name}/{each.cue}/share_lost"] = each.share_lost
    run.log_metrics({key: value for key, value in figures.items() if value is not None}, 0)
    return report.model_copy(update={"folder": name})

"""What a table shows of `donkey-rl bench`: speeds, delays, and what hours of racing take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from donkey_rl.experiments.proof import cells
from donkey_rl.experiments.proof.cells import Rows

_OURS, _STOCK, _SBX = "here", "Stable-Baselines3", "SBX"
_PARTIES: Final = {"sb3": _STOCK, "sbx": _SBX}
_ON_GPU: Final = {"sb3_gpu": f"{_STOCK}, GPU", "sbx_gpu": f"{_SBX}, GPU"}
"""Shown only where there is one."""

_LEARNING: Final = (
    ("SAC gradient steps/s, 2x256 units, batch 256", "sac_updates_per_s", "ours"),
    ("SAC gradient steps/s from images, 64x64x3, batch 256", "sac_image_updates_per_s", "ours"),
    (
        "the same, with the filters and units of `CnnPolicy`'s network here",
        "sac_image_updates_per_s",
        "ours_wide",
    ),
    (
        "PPO samples/s, rollout and update, eight environments without work, batches of 64, "
        "ten epochs, 2x64 units",
        "ppo_samples_per_s",
        "ours",
    ),
)
"""What is learnt, where the answer has it, and by which name ours."""


def learning(answer: Mapping[str, Any]) -> Rows:
    """Returns a row for each kind of update, from `donkey-rl bench --part learning`."""
    rows = []
    seen = {party for _, key, _ in _LEARNING for party in answer[key]}
    parties = _PARTIES | {party: head for party, head in _ON_GPU.items() if party in seen}
    for what, key, name in _LEARNING:
        found = answer[key]
        ours = found[name]
        rows.append(
            {"what": what, _OURS: _rate(ours)}
            | {head: _beside(ours, found.get(party)) for party, head in parties.items()}
        )
    return rows


def _rate(value: float | None) -> str:
    return cells.number(value, 1 if value is not None and value < 100.0 else 0)


def _beside(ours: float | None, theirs: float | None) -> str:
    """Returns another party's rate and how many times as fast it is here."""
    ratio = "" if ours is None or theirs is None else f" (here {ours / theirs:.1f} times)"
    return f"{_rate(theirs)}{ratio}"


def simulator(answer: Mapping[str, Any]) -> Rows:
    """Returns rows of environment steps, from `donkey-rl bench --part simulator`."""
    found = {
        "environment steps/s, 64 cars, images of 160x120": answer["sim_steps_per_s"],
        "environment steps/s, one car": answer["sim_steps_per_s_one_car"],
        "steps/s of Gymnasium's CarRacing-v3": answer["carracing_steps_per_s"],
    }
    return [
        {"what": what, _OURS: _rate(value)} for what, value in found.items() if value is not None
    ]


def driver(answer: Mapping[str, Any]) -> Rows:
    """Returns rows of answer times, from `donkey-rl bench --part driver`."""
    found = answer["predict_ms"]
    return [
        {
            "what": f"image to action of one car on one core, {name}: median, 99th percentile "
            "(ms)",
            _OURS: f"{found[f'{party}p50']:.2f}, {found[f'{party}p99']:.2f}",
        }
        for name, party in (("the driver in Keras", ""), ("its LiteRT model", "lite_"))
    ]


def link(answer: Mapping[str, Any]) -> Rows:
    """Returns rows of delays and rates, from `donkey-rl bench --part link`."""
    delay, rate = answer["link_delay_ms"], answer["served_hz"]
    way = "a command on its way out plus a frame on its way in"
    found = {
        f"{way}, to the decoded picture: median, 99th percentile (ms)": (
            f"{delay['p50']:.2f}, {delay['p99']:.2f}"
        ),
        "the same of a bare socket that only splits lines (ms)": (
            f"{delay['socket_p50']:.2f}, {delay['socket_p99']:.2f}"
        ),
        f"telemetry messages per second and client, {rate['clients']:.0f} clients at 160x120 JPEG "
        "in real time beside one that never reads: least, mean": (
            f"{rate['least']:.2f}, {rate['mean']:.2f}"
        ),
    }
    return [{"what": what, "figure": figure} for what, figure in found.items()]


def racing(answer: Mapping[str, Any]) -> Rows:
    """Returns one row of how fast a race server answers, from `donkey-rl bench --part race`."""
    race = answer["race"]
    delay = race["frame_to_command_ms"]
    return [
        {
            "frames": cells.number(race["frames"]),
            "seconds": cells.number(race["seconds"]),
            **{
                f"frame to command, {name} (ms)": cells.number(delay[key], 1)
                for name, key in (("median", "p50"), ("95 %", "p95"), ("99 %", "p99"))
            },
            "pages open": cells.number(race["viewers"]),
            "pictures a second for each": cells.number(race["viewer_hz"], 1),
            "faults": _faults(race["faults"]),
        }
    ]


def soak(answer: Mapping[str, Any]) -> Rows:
    """Returns rows of what hours did to a race server, from `donkey-rl bench --part soak`."""
    found = answer["soak"]
    rows = [
        {
            "what": f"{name} of racer and page",
            "after a quarter": cells.number(found["begin"][key], digits),
            "at the end": cells.number(found["end"][key], digits),
            "growth in an hour": cells.number(found["growth_per_h"][key], 2),
        }
        for name, key, digits in (
            ("memory (MB)", "memory_mb", 1),
            ("threads", "threads", 0),
            ("open files", "files", 0),
        )
    ]
    hours = f"{found['hours']:g} h of simulation time"
    driven = f"{cells.number(found['frames'])} frames in {found['wall_s'] / 60.0:.1f} min"
    return [*rows, {"what": f"{hours}: {driven}; faults: {_faults(found['faults'])}"}]


def _faults(faults: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in faults.items() if count) or "none"


def sweep(answer: Mapping[str, Any]) -> Rows:
    """Returns a row for one worker and for two, from `donkey-rl bench --part sweep`."""
    found = answer["sweep"]
    beside = {"2": f"{found['efficiency']:.2f}"}
    return [
        {
            "workers": workers,
            "trials": cells.number(found["trials"][workers]),
            # The answer tells those of each worker.
            "trials an hour": cells.number(int(workers) * rate),
            "by twice those of one worker": beside.get(workers, ""),
        }
        for workers, rate in found["trials_per_h"].items()
    ]


def logging(answer: Mapping[str, Any]) -> Rows:
    """Returns a row of what logging took of a training, from `donkey-rl bench --part logging`."""
    found = answer["logging"]
    return [
        {
            "training (s)": cells.number(found["wall_s"], 1),
            "its processor time (s)": cells.number(found["cpu_s"], 1),
            "wall time inside calls that log": f"{found['wall']:.3%}",
            "processor time of the threads that call": f"{found['cpu']:.3%}",
            "the same with the thread that sends": f"{found['total_cpu']:.2%}",
        }
    ]

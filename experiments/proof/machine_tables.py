"""Tables of what a machine does with this package: speeds, delays, racing, sweeps."""

from __future__ import annotations

from typing import Final

from donkey_rl.experiments.proof import reading_bench
from donkey_rl.experiments.proof.steps import Amounts, Table, measured

_MINUTE: Final = ("--seconds", "60")


def speed(amounts: Amounts) -> Table:
    """Learning, simulator and driver, beside other packages where these can do it."""
    del amounts
    steps = (
        measured("learning", reading_bench.learning),
        measured("simulator", reading_bench.simulator),
        measured("driver", reading_bench.driver),
    )
    note = (
        "Rounds of all parties alternate in one process, and medians over the rounds are shown: "
        "what else runs on the machine slows all of them, so ratios are surer than rates. The "
        "seed is 0 throughout. SBX comes with `pip install donkey-rl[bench]`."
    )
    return Table("Speed", steps, note)


def link(amounts: Amounts) -> Table:
    """What a connection to a simulator adds, and how evenly many clients are served."""
    del amounts
    note = (
        "Delays are taken with a server that stamps what it sends and receives with the clock "
        "that all processes share, at 20 frames per second; a frame holds a JPEG of 160x120. No "
        "client waits by sleeping."
    )
    return Table("The link", (measured("link", reading_bench.link, *_MINUTE),), note)


def racing(amounts: Amounts) -> Table:
    """How fast a race server answers with its page open and its record on the disk."""
    del amounts
    note = (
        "Simulator, racer and ten viewers are processes of this machine; recording is on. The "
        "driver is untrained, of seed 0."
    )
    return Table(
        "From frame to command in a race",
        (measured("race", reading_bench.racing, *_MINUTE),),
        note,
    )


def soak(amounts: Amounts) -> Table:
    """What hours of racing do to memory, threads and files."""
    del amounts
    note = (
        "In lock-step, as fast as the machine goes, page open to ten viewers and recording on. "
        "The driver is untrained, of seed 0."
    )
    return Table(
        "Six hours of racing", (measured("soak", reading_bench.soak, "--hours", "6"),), note
    )


def sweep(amounts: Amounts) -> Table:
    """What two workers of a sweep do beside twice what one does."""
    del amounts
    note = (
        "Short trainings of 12,000 steps and four races, one worker on one core and two on two "
        "in turns; rates are of the median time between the beginnings of two trials."
    )
    step = measured("sweep", reading_bench.sweep, "--seconds", "1200")
    return Table("Two workers beside one", (step,), note)


def logging(amounts: Amounts) -> Table:
    """What logging costs a training."""
    del amounts
    note = (
        "A training by `--recipe sac_fast`, seed 0, which logs more often than longer ones, into "
        "a database on the same disk. The wait for the store at the end of the run is not in it."
    )
    step = measured("logging", reading_bench.logging, recipes=("sac_fast",))
    return Table("What logging costs", (step,), note)

"""The process that a team of the rehearsal races in; `racers` is the other end.

It races as `donkey-rl race` does. Over its standard input come JSON objects, one a line: the
configurations first, later stalls of its drivers; the end of it ends the race. On its standard
output it tells its page and ports, and in the end what its cars have done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any, TextIO

import numpy.typing as npt

from donkey_rl import configuration, standard_error
from donkey_rl.agents.acting import FloatArray
from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.race_server import team
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.rehearsal.stalls import Stalls


def race(words: IO[str], answers: TextIO) -> None:
    """Races until there are no more words.

    Args:
        words: Where they come from.
        answers: Where what is told goes to.
    """

    def tell(said: Mapping[str, Any]) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    stalls, ended = Stalls(), threading.Event()
    _put_between(stalls)
    values = json.loads(words.readline())["configs"]
    configs = [configuration.validate(RaceConfig, each) for each in values]

    def listen() -> None:
        for line in words:
            said = json.loads(line)
            stalls.begin(said["stall"], said["seconds"])
        ended.set()

    def announce(started: team.Started) -> None:
        tell({"up": {"page": started.url, "ports": started.drive_ports}})

    def log(car: str, level: str, text: str) -> None:
        logging.getLogger("donkey_rl.rehearsal").info("%s: %s: %s", car, level, text)

    threading.Thread(target=listen, name="rehearsal's words", daemon=True).start()
    try:
        results = team.race(configs, announce, ended=ended, log=log)
    except DonkeyRLError as error:
        tell({"refused" if isinstance(error, InputError) else "failed": str(error)})
        return
    # In a rehearsal all cars are to race.
    for each in results:
        if each.failure:
            tell({"refused" if each.is_input else "failed": f"{each.car}: {each.failure}"})
            return
    found = [dataclasses.asdict(each) | {"record": str(each.record)} for each in results]
    tell({"results": found})


def _put_between(stalls: Stalls) -> None:
    """Has every driver of this process asked by way of the stalls: seats know nothing of it."""
    original = LiteDriver.act

    def act(self: LiteDriver, observation: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        return stalls.answer(lambda: original(self, observation))

    LiteDriver.act = act  # type: ignore[assignment,method-assign]


def main() -> None:
    """Races by what comes on standard input; what libraries print goes to standard error."""
    standard_error.make_patient()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    answers, sys.stdout = sys.stdout, sys.stderr
    with contextlib.suppress(KeyboardInterrupt):
        race(sys.stdin, answers)


if __name__ == "__main__":
    main()

"""Work goes on where nobody reads what it says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAYS = """
import sys
from donkey_rl import standard_error
from donkey_rl.experiments.progress import ProgressDisplay
standard_error.make_patient()
{gone}
display = ProgressDisplay()
for number in range(200):
    display.message("x" * 500)
with display.phase("training", 10) as phase:
    phase.update(10)
print("stored")
"""
BROKEN = "import os; ends = os.pipe(); os.dup2(ends[1], 2); [os.close(end) for end in ends]"


def said(gone: str, **where: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", SAYS.format(gone=gone)]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, **where)


def test_a_pipe_without_a_reader_ends_nothing() -> None:
    done = said(BROKEN)
    assert (done.stdout, done.returncode) == ("stored\n", 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a file that is always full")
def test_a_full_disk_ends_nothing() -> None:
    with open("/dev/full", "w") as full:
        done = said("", stderr=full)
    assert (done.stdout, done.returncode) == ("stored\n", 0)


def test_otherwise_all_is_written() -> None:
    done = said("", stderr=subprocess.PIPE)
    assert done.stderr.count("x" * 500 + "\n") == 200
    assert "training: 10/10 steps" in done.stderr


STUCK = """
import logging, os, time
from donkey_rl import cli_logging
ends = os.pipe()
os.set_blocking(ends[1], False)
try:
    while True:
        os.write(ends[1], b"x" * 65536)
except BlockingIOError:
    pass
os.set_blocking(ends[1], True)
os.dup2(ends[1], 2)
cli_logging.set_up()
began = time.monotonic()
for number in range(3000):
    logging.getLogger("donkey_rl.racing").warning("car %d is out", number)
print(time.monotonic() - began < 20.0, flush=True)
os.set_blocking(ends[0], False)
read = b""
while b"car 5 is out" not in read and time.monotonic() - began < 30.0:
    try:
        read += os.read(ends[0], 65536)
    except BlockingIOError:
        time.sleep(0.01)
print(b"car 0 is out" in read, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_terminal_that_takes_nothing_holds_up_nobody_who_logs() -> None:
    words = [sys.executable, "-c", STUCK]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, timeout=60.0)
    assert done.stdout.split() == ["True", "True"]


HELD_UP = """
import logging, time
from donkey_rl import cli_logging
say = cli_logging.say
def late(line):
    time.sleep(0.5)
    say(line)
cli_logging.say = late
cli_logging.set_up()
logging.getLogger("donkey_rl.racing").warning("the last word")
"""


def test_the_last_line_is_written_where_its_thread_is_held_up() -> None:
    words = [sys.executable, "-c", HELD_UP]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=True, timeout=60.0)
    assert done.stderr.endswith("the last word\n")

"""Whether the machine can hold what a training is about to fill."""

from __future__ import annotations

import os

from donkey_rl.errors import InputError


def check(what: str, setting: str, number: int, each: int) -> None:
    """Refuses what the memory of this machine cannot hold.

    Args:
        what: What is to be filled, such as `a replay buffer`.
        setting: The setting that says how large it is.
        number: Its value.
        each: Bytes that one of them takes.

    Raises:
        InputError: There is less memory; where a system does not tell, nothing is checked.
    """
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return
    there, needed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), number * each
    if needed > there:
        raise InputError(
            f"Expected {what} that fits into {there / 2**30:.1f} GiB of memory. "
            f"Received: {setting} {number:,}, which takes {needed / 2**30:.1f} GiB. "
            f"Lower it, for example to {there // (2 * each):,}."
        )

"""Making tables, one after the other, and putting them into a page."""

from __future__ import annotations

import pathlib

from donkey_rl.configuration import Config
from donkey_rl.experiments import drivers
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.proof import marks, writing
from donkey_rl.experiments.proof.cells import Rows
from donkey_rl.experiments.proof.making import Making
from donkey_rl.experiments.proof.tables import TABLES, ProofPlan


class Made(Config):
    """A table that was made.

    Attributes:
        name: Of `TABLES`.
        file: Where it is, as Markdown.
        rows: Its rows.
    """

    name: str
    file: str
    rows: Rows


def prove(
    plan: ProofPlan, progress: ProgressDisplay, page: pathlib.Path | None = None
) -> tuple[Made, ...]:
    """Makes tables; what an earlier call has carried out is not carried out again.

    Args:
        plan: Which.
        progress: Says which command runs.
        page: A page of Markdown that each table is put into, once it is whole.

    Raises:
        UnknownNameError: There is no such run as the plan names.
        InputError: The page has no place for a table.
        DonkeyRLError: A command failed or was stopped; what was done before it is kept.
        StorageError: The folder or the page cannot be written.
        KeyboardInterrupt: After Ctrl-C; what ran is ended, what was done is kept.
    """
    if page is not None:
        marks.check(page, plan.tables)
    return tuple(_make(name, plan, page, progress) for name in plan.tables)


def _make(
    name: str, plan: ProofPlan, page: pathlib.Path | None, progress: ProgressDisplay
) -> Made:
    """Makes one table."""
    # A name or a folder may have come to mean another driver.
    driver = "" if plan.run is None else drivers.load(plan.run).hash
    making = Making(name, TABLES[name](plan), plan, driver, progress)
    done = making.make()
    if page is not None:
        marks.put_in(page, name, writing.markdown(making.table, done))
    return Made(name=name, file=str(making.file), rows=writing.rows(making.table, done))

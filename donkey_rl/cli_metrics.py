"""The commands `donkey-rl metrics` and `donkey-rl check-metric`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from donkey_rl.cli_output import JsonOption, at_work, loading, print_json

if TYPE_CHECKING:
    from donkey_rl.metrics.registry import Metric

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl metrics --json")
def metrics(as_json: JsonOption = False) -> None:
    """List the metrics of a race: unit, which way is better, range and formula."""
    from donkey_rl.metrics import registry

    rows = [_row(registry.load(name)) for name in registry.names()]
    if as_json:
        print_json({"metrics": rows})
        return
    from donkey_rl import tables

    tables.show_metrics(rows)


@app.command("check-metric", epilog="Example: donkey-rl check-metric my_metrics.py:mean_offset")
def check_metric(
    reference: Annotated[
        str, typer.Argument(metavar="PATH.py:NAME", help="A decorated function in a file.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Check a metric of your own: a number within its range, pure, whatever the race.

    The file is imported and runs with your rights. docs/metrics.md says how to
    write one.
    """
    from donkey_rl.metrics import conformance, registry

    with at_work(as_json) as progress:
        found = registry.from_file(reference)
        with loading(progress, "checking the metric"):
            conformance.check_metric(found)
    if as_json:
        print_json({"ok": True, **_row(found)})
        return
    typer.echo(f"Metric '{found.name}' of {found.source} passes all checks.")


def _row(metric: Metric) -> dict[str, Any]:
    """Returns what is said of a metric; a bound that there is none of is null."""
    return {
        "name": metric.name,
        "unit": metric.unit,
        "better": metric.direction,
        "low": metric.low if math.isfinite(metric.low) else None,
        "high": metric.high if math.isfinite(metric.high) else None,
        "description": metric.description,
        "formula": metric.formula,
        "source": metric.source,
    }

"""The command `report`: a page for people who were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_output import ForceOption, JsonOption, at_work, print_json

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl report 3f2a 81c0 --out report.html --price-per-kwh 0.30")
def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Ids, the starts of them, or names. The others are held against the first.",
            show_default=False,
            autocompletion=cli_completion.run,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page, an .html file.")] = Path(
        "report.html"
    ),
    price_per_kwh: Annotated[
        float | None, typer.Option(metavar="X", min=0.0, help="Price of a kilowatt-hour.")
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(metavar="X", min=0.0, help="Price of the machine for an hour of wall time."),
    ] = None,
    watts: Annotated[
        float | None,
        typer.Option(
            metavar="W",
            min=0.0,
            help="Power of one busy processor core. Default: 12, as the Green Algorithms "
            "calculator has it.",
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one page on what was trained, how it drives, and what it cost.

    For team-mates and sponsors: it opens offline in any browser. All of it comes
    from what the runs hold, nothing is driven; `donkey-rl evaluate` adds races.
    """
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        from donkey_rl.experiments.reporting import report as reports

        rates: dict[str, Any] = {
            "watts_per_core": watts, "price_per_kwh": price_per_kwh,
            "price_per_hour": price_per_hour,
        }  # fmt: skip
        given = {name: value for name, value in rates.items() if value is not None}
        values = {"runs": tuple(runs), "out": out, "rates": given, "force": force}
        request = configuration.validate(reports.ReportRequest, values)
        result = reports.write(request, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import tables

    tables.show_report(result)

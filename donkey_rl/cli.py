"""The `donkey-rl` command: thin functions over the library.

Every command imports what it needs when it runs, so that `--help` answers at once. With `--json`
a command prints exactly one JSON object on standard output; everything else goes to standard
error. Exit codes: 0 done, 1 failure, 2 bad input, 130 interrupted. Ctrl-C while `train` learns is
a way to end it, exit code 0: the best driver so far is kept and the run is marked as stopped.
SIGTERM and a terminal that is closed are as Ctrl-C in every command.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.main

import donkey_rl
from donkey_rl import (
    cli_augment,
    cli_data,
    cli_ensemble,
    cli_evaluate,
    cli_export,
    cli_former,
    cli_logging,
    cli_metrics,
    cli_output,
    cli_pictures,
    cli_prove,
    cli_race,
    cli_race_init,
    cli_race_records,
    cli_race_rehearse,
    cli_record,
    cli_report,
    cli_results,
    cli_runs,
    cli_simulators,
    cli_sweep,
    cli_tracks,
    cli_train,
    cli_tub,
    cli_version,
    formatting,
    standard_error,
    stop_signals,
)
from donkey_rl.cli_output import JsonOption, at_work, loading, print_json
from donkey_rl.errors import DonkeyRLError, InputError

SUCCESS, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "DONKEY_RL_DEBUG"

app = typer.Typer(
    name="donkey-rl",
    help="Train, measure and race drivers for the DonkeyCar simulator.",
    epilog="Start with: donkey-rl train --agent sac",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@functools.cache
def commands() -> Any:
    """Returns the tree of all commands as Typer runs it; to make it takes as long as a command."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        arguments: What was typed after `donkey-rl`. Defaults to the arguments of the process.
    """
    words = cli_former.renamed(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What others have named may not be in the letters of a file that this goes to.
        sys.stdout.reconfigure(errors="backslashreplace")
    standard_error.make_patient()
    try:
        with stop_signals.as_ctrl_c():
            cli_logging.set_up()
            code = commands().main(words, prog_name=app.info.name, standalone_mode=False)
            sys.stdout.flush()
        if code == INTERRUPTED:
            return _fail("interrupted.", INTERRUPTED)
        return code if isinstance(code, int) else SUCCESS
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted.", INTERRUPTED)
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except DonkeyRLError as error:
        return _fail(str(error), FAILURE)
    except Exception as error:
        if _reader_has_gone(error):
            # Keep the interpreter from writing to the pipe at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILURE
        return _fail_unexpectedly(error, words)


def _reader_has_gone(error: Exception) -> bool:
    """Whether nobody reads our output any more; Windows may call its pipe an invalid argument."""
    if isinstance(error, BrokenPipeError):
        return True
    invalid = isinstance(error, OSError) and error.errno == errno.EINVAL
    return os.name == "nt" and invalid and getattr(error, "filename", None) is None


def _fail_unexpectedly(error: Exception, words: Sequence[str]) -> int:
    """Ends after an error that is none of ours: of Typer, of the system, or a mistake."""
    usage = getattr(error, "format_message", None)
    if usage is not None:
        # Typer has printed the help already where the message is empty.
        if not (message := str(usage())):
            return BAD_INPUT
        message = message.partition(", unable to")[0]
        stop = "" if message.endswith((".", "?", "!")) else "."
        received = _received(error, words)
        if received and f"'{received}'" not in message:
            stop += f" Received: '{received}'."
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "donkey-rl"
        return _fail(f"{message}{stop} See '{command} --help'.", BAD_INPUT)
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return _fail(
            f"This needs the package '{package}', which is not installed here. Install all that "
            "donkey-rl depends on: pip install donkey-rl. A race container holds what races need.",
            FAILURE,
        )
    if isinstance(error, OSError) and error.strerror:
        place = f" '{error.filename}'" if error.filename else ""
        return _fail(f"{error.strerror}{place}.", FAILURE)
    text = f"{type(error).__name__}: {error}".rstrip(".")
    return _fail(f"{text}. Run with {DEBUG_VARIABLE}=1 for the traceback.", FAILURE)


def _received(error: Exception, words: Sequence[str]) -> str:
    """Returns the value of the option that an error of Typer is about, empty for none."""
    if not str(error).startswith("Input should"):
        return ""
    for option in getattr(getattr(error, "param", None), "opts", ()):
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word == option:
                return following
            if word.startswith(f"{option}="):
                return word.partition("=")[2]
    return ""


def _fail(message: str, code: int) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    coloured = cli_output.is_coloured(sys.stderr)
    label = typer.style("error:", fg=typer.colors.RED, bold=True) if coloured else "error:"
    typer.echo(f"{label} {formatting.one_line(message)}", err=True, color=coloured)
    return code


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"donkey-rl {donkey_rl.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train, measure and race drivers for the DonkeyCar simulator."""


@app.command(epilog="Example: donkey-rl bench --part link --seconds 60 --json")
def bench(
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this: simulator, learning, driver or link; may be repeated. Default: all. "
            "Or what takes minutes: driving (trains every agent for --seconds at most and races "
            "it), ensemble (trains members and races ensembles of them), sweep (one worker and "
            "two, --seconds in all), logging, race (a race server with ten viewers), soak "
            "(--hours of simulation time in lock-step), scaling (how far a sweep scales: "
            "docs/scaling.md)."
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=2.0,
            max=3600.0,
            help="Of each measurement of the link, each training, the race, all sweeps.",
        ),
    ] = 10.0,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Of driving: trainings of each agent.")
    ] = 1,
    hours: Annotated[
        float, typer.Option(min=0.01, max=100.0, help="Of the soak, simulation time.")
    ] = 6.0,
    as_json: JsonOption = False,
) -> None:
    """Measure the speed of the simulator, of learning and of the link on this machine."""
    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments import bench as benchmark

        result = benchmark.run(progress, part or benchmark.PARTS, seconds, seeds, hours)
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    from donkey_rl import tables

    tables.show_speeds(result.model_dump(mode="json", exclude_none=True))


cli_race_init.register(cli_race.app)
cli_tub.register(cli_data.app)
cli_race_records.register(cli_race.app)
cli_race.app.add_typer(cli_race_rehearse.app)
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_race.app, name="race")
app.add_typer(cli_tracks.app, name="tracks")
app.add_typer(cli_runs.runs_app, name="runs")
for _commands in (
    cli_train.app,
    cli_augment.app,
    cli_ensemble.app,
    cli_evaluate.app,
    cli_export.app,
    cli_metrics.app,
    cli_pictures.app,
    cli_prove.app,
    cli_record.app,
    cli_report.app,
    cli_results.app,
    cli_runs.app,
    cli_simulators.app,
    cli_sweep.app,
    cli_version.app,
):
    app.registered_commands += _commands.registered_commands

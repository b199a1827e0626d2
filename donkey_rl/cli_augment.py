"""The command `donkey-rl augment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from donkey_rl.cli_output import (
    JsonOption,
    RecipeOption,
    SettingOption,
    at_work,
    check_suffix,
    print_json,
)

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Example: donkey-rl augment --recipe ppo_pixels --set ppo.augmentation.hue=0.1"
)
def augment(
    recipe: RecipeOption = None,
    setting: SettingOption = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The PNG file; one that is there is replaced.")
    ] = Path("augmentation.png"),
    as_json: JsonOption = False,
) -> None:
    """Draw how a training changes images: frames as they are, each change, and all together."""
    check_suffix("picture", out, ".png")
    from donkey_rl import configuration
    from donkey_rl.experiments.config import TrainingConfig

    mapping = configuration.read_recipe(recipe) if recipe else {}
    config = configuration.validate(TrainingConfig, mapping)
    config = configuration.with_settings(config, setting or [])
    with at_work(as_json) as progress, progress.phase("drawing", None, ""):
        from donkey_rl.experiments import augmentation_sheet

        amounts = augmentation_sheet.amounts(config).model_dump()
        file = augmentation_sheet.draw(config, out)
    if as_json:
        print_json({"file": str(file), "amounts": amounts})
        return
    typer.echo(str(file))

"""`ssl4rl plan`."""

from __future__ import annotations

import click

import ssl4rl
from ssl4rl.commands.shared import as_json_option, show


@click.command("plan")
@click.argument("recipe", metavar="RECIPE")
@click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
@click.option(
    "--gpus", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Devices that share it."
)
@as_json_option
def plan_command(recipe: str, overrides: tuple[str, ...], gpus: int, as_json: bool) -> None:
    """Peak memory of a recipe by phase and part, and what to change for a smaller card; no weights are loaded.

    RECIPE and overrides are those of train. model.device=cpu plans a run without a GPU.
    """
    from ssl4rl.core.recipe.recipe import load_recipe

    show(ssl4rl.plan(load_recipe(recipe, overrides), gpus=gpus), as_json)

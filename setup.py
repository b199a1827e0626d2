"""Builds the ``donkey_rl`` distribution.

The folders beside this file are subpackages of ``donkey_rl``: ``agents/`` is imported as
``donkey_rl.agents``, and so on. Nothing but ``donkey_rl`` is ever installed.
"""

from setuptools import find_packages, setup

SUBPACKAGES = ("agents", "envs", "experiments", "metrics", "race_server")


def packages_of(folder: str) -> list[str]:
    """Returns the dotted names of a top-level folder and of the packages below it."""
    root = f"donkey_rl.{folder}"
    return [root, *(f"{root}.{name}" for name in find_packages(folder))]


setup(
    packages=["donkey_rl", *(name for folder in SUBPACKAGES for name in packages_of(folder))],
    package_dir={f"donkey_rl.{folder}": folder for folder in SUBPACKAGES},
    package_data={
        "donkey_rl": ["py.typed"],
        "donkey_rl.envs.optimal": ["lines/*.json"],
        "donkey_rl.envs.simulator": ["tracks/*.json"],
        "donkey_rl.experiments": ["recipes/*.yaml"],
        "donkey_rl.experiments.recording": ["page/*"],
        "donkey_rl.metrics": ["limits.json"],
        "donkey_rl.race_server.page": ["static/*.*", "static/vendor/*"],
    },
)

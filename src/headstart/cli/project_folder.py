"""The project that a command works on: its folder and its paths."""

import argparse
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.errors import UserError

if TYPE_CHECKING:
    from headstart.config import Params

IMAGES = Path("data/images.h5")
FEATURES = Path("data/features")
TRAINED = Path("data/trained")
MODELS = Path("data/models")
"""Where the pipeline's outputs lie in a project's folder, as dvc.yaml has them."""


def add_project_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="The project's folder, or one inside it. Default: the current folder.",
    )


def find_project(start: Path) -> Path | None:
    """The nearest folder, `start` or one above it, that holds dvc.yaml and params.yaml."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    return None


def require_project(start: Path | None) -> Path:
    """The project that holds `start`, by default the current folder.

    Raises:
        UserError: there is none.
    """
    start = start or Path.cwd()
    project = find_project(start)
    if project is None:
        raise UserError(
            f"{start} is not in a project (a folder with dvc.yaml and params.yaml); go into one, "
            f"or name it with --project"
        )
    return project


@contextmanager
def open_project(folder: Path) -> Iterator["Params"]:
    """Works in the project's folder for as long as the block lasts, as a stage does: the paths in
    params.yaml are relative to it. Paths that the user gave have to be absolute by then.

    Raises:
        UserError: params.yaml is wrong.
    """
    from headstart.data.datasets import load_params

    with chdir(folder):
        yield load_params()

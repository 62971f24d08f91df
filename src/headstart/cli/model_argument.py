"""The argument RUN of commands that use a trained model: a folder, or a run of the project."""

import argparse
from pathlib import Path

from headstart.cli.project_folder import MODELS, find_project, require_project
from headstart.core.errors import UserError, did_you_mean

DESCRIPTION_FILE = "model.json"


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        metavar="RUN",
        help="The path of a model's folder, wherever it lies (…/data/models/bundled-linear or a "
        "copy of it), or a run of the project by its name (`bundled-linear`).",
    )
    parser.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="For a run's name: the project's folder, or one inside it. Default: the current "
        "folder.",
    )


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=16,
        metavar="N",
        help="The number of images computed at once; 256 or more on a GPU. Default: %(default)s.",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="Where to compute; auto takes a GPU if there is one. Default: %(default)s.",
    )


def positive(text: str) -> int:
    """Returns the number, of at least 1, that an argument says."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def find_model(run: str, project: Path | None) -> Path:
    """Returns the absolute path of a model's folder.

    run: a path, or a name in the project. project: `--project`, for a name.

    Raises:
        UserError: there is no such folder, project or run; says which names are near.
    """
    path = Path(run)
    if "/" in run or (path / DESCRIPTION_FILE).is_file():
        if project is not None:
            raise UserError(f"{run} is a path; leave out --project")
        if not path.is_dir():
            raise UserError(f"there is no folder {run}; give the path of a model's folder")
        return path.resolve()
    if project is None and find_project(Path.cwd()) is None:
        raise UserError(
            f"there is no model's folder {run} here, and {Path.cwd()} is not in a project (a "
            f"folder with dvc.yaml and params.yaml); give the folder's path, or name the project "
            f"with --project"
        )
    root = require_project(project)
    runs = {file.parent.name for file in (root / MODELS).glob(f"*/{DESCRIPTION_FILE}")}
    if run not in runs:
        near = did_you_mean(run, runs) if runs else "there is none yet; `dvc repro` trains some"
        raise UserError(f"{root} has no trained run '{run}'; {near}")
    return (root / MODELS / run).resolve()


def work_folder(project: Path | None) -> Path:
    """Returns the folder whose .cache/headstart is used: the project's, or the current one."""
    return find_project(project or Path.cwd()) or Path.cwd()

"""`headstart check`: everything that would stop `dvc repro`, found before it starts."""

import argparse

from headstart.cli.project_folder import add_project_argument, open_project, require_project

SUMMARY = "Name everything that is wrong in params.yaml, and with what it names."
DESCRIPTION = (
    "Names everything that is wrong in params.yaml, and with the paths, weights and devices that "
    "it names, in a second and all at once, before `dvc repro` starts."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project_argument(parser)


def run(args: argparse.Namespace) -> str:
    project = require_project(args.project)

    from headstart.cli.project_checks import check_project

    with open_project(project) as params:
        check_project(params)
    return f"params.yaml is fine: {len(params.runs)} runs: {', '.join(params.runs)}"

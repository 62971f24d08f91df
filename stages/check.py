"""Says all that is wrong in params.yaml and with what it names, before DVC starts."""

import argparse

from headstart.config import Params
from stages import parser, run


def check(args: argparse.Namespace, params: Params) -> str:
    from headstart.cli.project_checks import check_project

    check_project(params)
    return f"params.yaml is fine: {len(params.runs)} runs: {', '.join(params.runs)}"


def load_params() -> Params:
    from headstart.data import datasets

    return datasets.load_params()


if __name__ == "__main__":
    run(check, parser(__doc__), load_params)

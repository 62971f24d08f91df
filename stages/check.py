"""Says all that is wrong in params.yaml and with what it names, before DVC starts."""

import argparse

from headstart.params import Params
from stages import parser, run


def check(args: argparse.Namespace, params: Params) -> str:
    from headstart import checking

    checking.check(params)
    return f"params.yaml is fine: {len(params.runs)} runs: {', '.join(params.runs)}"


if __name__ == "__main__":
    run(check, parser(__doc__))

"""Validates params.yaml before DVC removes a path or starts a command that it names."""

from argparse import Namespace

from headstart.config import Params
from stages import parser, run


def validate(args: Namespace, params: Params) -> str:
    args.marker.parent.mkdir(parents=True, exist_ok=True)
    # Always the same, so that no other stage runs again for it.
    args.marker.write_text("params.yaml is valid\n", encoding="utf-8")
    return f"params.yaml is valid; runs: {', '.join(params.runs) or 'none'}"


def load_params() -> Params:
    from headstart.data import datasets

    return datasets.load_params()


if __name__ == "__main__":
    run(validate, parser(__doc__, "marker"), load_params)

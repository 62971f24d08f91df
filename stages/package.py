"""Writes each run as a folder to carry away: model.json, its weights and a model card."""

import argparse

from headstart.config import Params
from stages import parser, run


def package(args: argparse.Namespace, params: Params) -> str:
    from headstart.packaging.packaging import PipelineOutputs, package_run
    from headstart.store.images import open_images

    outputs = PipelineOutputs(args.trained, args.results)
    with open_images(args.images) as images:
        for name in params.runs:
            package_run(name, params, images, outputs, args.models / name)
    return f"packaged {len(params.runs)} models in {args.models}"


if __name__ == "__main__":
    run(package, parser(__doc__, "images", "trained", "results", "models"))

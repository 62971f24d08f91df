"""Trains one network from scratch, and writes its training curve and predictions."""

import argparse

from headstart.config import Params
from stages import entry, parser, run


def train_scratch(args: argparse.Namespace, params: Params) -> str:
    from headstart.core.torchrun import launch_processes
    from headstart.metrics.selection import CRITERIA
    from headstart.store.images import open_images
    from headstart.training import from_scratch
    from headstart.training.training_jobs import Outputs

    launch_processes("stages.train_scratch", params.train_scratch.processes)
    chosen = entry(params.networks, "networks", args.network)
    outputs = Outputs(
        args.model,
        args.predictions,
        training_curve=args.results / "training" / f"{args.network}.tsv",
        filters=args.results / "filters" / "runs" / f"{args.network}.npy",
        recorded_outputs=args.results / "outputs" / f"{args.network}.tsv",
    )
    with open_images(args.images) as images:
        best = from_scratch.train_scratch(
            images,
            chosen,
            params.recipes[chosen.recipe],
            params.recipes[chosen.first_recipe] if chosen.first_recipe else None,
            params.single_backbones[chosen.trunk] if chosen.trunk else None,
            params.train_scratch,
            params.evaluate.choose_by,
            outputs,
            label=args.network,
        )
    title, epoch = CRITERIA[params.evaluate.choose_by].title, f"epoch {best.epochs:.4g}"
    return f"{args.network}: {title} {best.score:.1%} on tune, the best, after {epoch}"


if __name__ == "__main__":
    run(
        train_scratch,
        parser(__doc__, "images", "model", "predictions", "results", network="alias in networks"),
    )

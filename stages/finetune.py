"""Fine-tunes a backbone, or a part of it, starting from the head trained on its features."""

import argparse

from headstart.config import Params
from stages import entry, parser, run


def finetune(args: argparse.Namespace, params: Params) -> str:
    from headstart.core.torchrun import launch_processes
    from headstart.heads.fitted_head import HEAD_FILE, load_head
    from headstart.metrics.selection import CRITERIA
    from headstart.store.images import open_images
    from headstart.training import fine_tuning
    from headstart.training.training_jobs import Outputs

    launch_processes("stages.finetune", params.finetune.processes)
    name = f"{args.backbone}-finetune"
    curve = args.results / "training" / f"{name}.tsv"
    filters = args.results / "filters" / "runs" / f"{name}.npy"
    with open_images(args.images) as images:
        best = fine_tuning.finetune(
            images,
            entry(params.single_backbones, "zoo", args.backbone),
            load_head(args.head / HEAD_FILE),
            params.recipes[params.finetune.recipe],
            params.finetune,
            params.extract,
            params.evaluate.choose_by,
            Outputs(args.model, args.predictions, curve, filters),
            label=name,
        )
    title, epoch = CRITERIA[params.evaluate.choose_by].title, f"epoch {best.epochs:.4g}"
    return f"{args.backbone}: {title} {best.score:.1%} on tune, the best, after {epoch}"


if __name__ == "__main__":
    run(
        finetune,
        parser(
            __doc__, "images", "head", "model", "predictions", "results", backbone="alias in zoo"
        ),
    )

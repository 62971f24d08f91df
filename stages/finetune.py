"""A backbone trained on end to end, from the head that was trained on its features."""

import argparse

from headstart.params import Params
from stages import entry, parser, run


def finetune(args: argparse.Namespace, params: Params) -> str:
    from headstart import finetuning, launching
    from headstart.end_to_end import Outputs
    from headstart.heads import head
    from headstart.images import open_images

    launching.launch("stages.finetune", params.finetune.processes)
    with open_images(args.images) as images:
        best = finetuning.finetune(
            images,
            entry(params.single_backbones, "zoo", args.backbone),
            head.load(args.head / head.FILE),
            params.recipes[params.finetune.recipe],
            params.finetune,
            Outputs(args.model, args.predictions),
            label=f"{args.backbone}-finetune",
        )
    return f"{args.backbone}: {best.tune_top1:.1%} of tune right after epoch {best.epoch}, the best"


if __name__ == "__main__":
    run(
        finetune,
        parser(__doc__, "images", "head", "model", "predictions", backbone="alias in zoo"),
    )

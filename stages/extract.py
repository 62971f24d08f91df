"""Images through one frozen backbone: a feature vector for every view of every image, cached."""

import argparse
import os

from headstart.params import Params
from stages import entry, parser, run


def extract(args: argparse.Namespace, params: Params) -> str:
    from headstart import backbones, extraction, runtime
    from headstart.images import open_images
    from headstart.precision import median_cosine
    from headstart.wanted import Plan

    share = extraction.Share()
    # Others than torchrun set ranks too; only under torchrun are all of them started.
    if "TORCHELASTIC_RUN_ID" in os.environ:
        share = extraction.Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    chosen = entry(params.zoo, "zoo", args.backbone)
    # A wrong weights file of the last backbone is found before the first one's hours of work.
    for alias in params.extract.backbones:
        backbones.check(params.zoo[alias])
        runtime.check(params.extract.device, params.zoo[alias].precision)
    backbone = backbones.load(chosen)
    device, batch_size = params.extract.device, params.extract.batch_size
    started = runtime.start(backbone, device, batch_size, chosen.precision)
    with open_images(args.images) as images:
        counts = extraction.extract(
            images,
            args.features,
            started,
            backbone.provenance,
            Plan(params.extract.ten_crop, params.extract.augmented_views),
            params.extract.dtype,
            args.backbone,
            share,
        )
        cost = ""
        if chosen.precision != "float32" and counts.computed and share.rank == 0:
            exact = runtime.start(backbone, device, batch_size)
            cosine = median_cosine(images, started, exact)
            cost = f"; {chosen.precision}, median cosine with float32 {cosine:.4f}"
    rank = f" (process {share.rank} of {share.world})" if share.world > 1 else ""
    return f"{args.backbone}{rank}: {counts}{cost}"


if __name__ == "__main__":
    run(extract, parser(__doc__, "images", "features", backbone="alias in zoo"))

"""Images through one frozen backbone: a feature vector for every view of every image, cached."""

import argparse

from headstart.params import Params
from stages import parser, run


def extract(args: argparse.Namespace, params: Params) -> str:
    from headstart import backbones, extraction, runtime
    from headstart.images import open_images

    # A wrong weights file of the last backbone is found before the first one's hours of work.
    for alias in params.extract.backbones:
        backbones.check(params.zoo[alias])
    backbone = backbones.load(params.zoo[args.backbone])
    started = runtime.start(backbone, params.extract.device, params.extract.batch_size)
    with open_images(args.images) as images:
        counts = extraction.extract(
            images,
            args.features,
            started,
            backbone.provenance,
            extraction.Plan(params.extract.ten_crop, params.extract.augmented_views),
            params.extract.dtype,
            label=args.backbone,
        )
    return f"{args.backbone}: {counts}"


if __name__ == "__main__":
    run(extract, parser(__doc__, "images", "features", backbone="alias in zoo"))

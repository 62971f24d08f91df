"""Images through one frozen backbone: a feature vector for every view of every image, cached."""

import argparse
import os

from headstart.params import Params
from stages import entry, parser, run


def extract(args: argparse.Namespace, params: Params) -> str:
    from headstart import backbones, extraction, runtime
    from headstart.images import open_images
    from headstart.wanted import Plan

    share = extraction.Share()
    # Others than torchrun set ranks too; only under torchrun are all of them started.
    if "TORCHELASTIC_RUN_ID" in os.environ:
        share = extraction.Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    chosen = entry(params.backbones, "zoo", args.backbone)
    # A wrong weights file of the last backbone is found before the first one's hours of work.
    active = (params.backbones[alias] for alias in params.extract.backbones)
    for backbone in {name: b for members in active for name, b in members.items()}.values():
        backbones.check(backbone)
    device, batch_size = params.extract.device, params.extract.batch_size
    # Lazy: a concatenation's members are loaded one after another.
    loaded = ((name, backbones.load(backbone)) for name, backbone in chosen.items())
    members = (
        extraction.Member(name, runtime.start(backbone, device, batch_size), backbone.provenance)
        for name, backbone in loaded
    )
    with open_images(args.images) as images:
        counts = extraction.extract(
            images,
            args.features,
            members,
            Plan(params.extract.ten_crop, params.extract.augmented_views),
            params.extract.dtype,
            share,
        )
    rank = f" (process {share.rank} of {share.world})" if share.world > 1 else ""
    return "; ".join(f"{name}{rank}: {c}" for name, c in zip(chosen, counts, strict=True))


if __name__ == "__main__":
    run(extract, parser(__doc__, "images", "features", backbone="alias in zoo"))

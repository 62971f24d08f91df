"""Images through one frozen backbone: a feature vector for every view of every image, cached."""

import argparse

from headstart.params import Backbone, Params
from stages import entry, parser, run


def extract(args: argparse.Namespace, params: Params) -> str:
    from headstart import backbones, extraction, launching, members, runtime
    from headstart.images import open_images
    from headstart.precision import median_cosine
    from headstart.sharing import Share
    from headstart.wanted import Plan

    launching.launch("stages.extract", params.extract.processes)
    share = Share.here()
    chosen = entry(params.backbones, "zoo", args.backbone)
    # A wrong weights file of the last backbone is found before the first one's hours of work.
    active = (params.backbones[alias] for alias in params.extract.backbones)
    for backbone in {name: b for group in active for name, b in group.items()}.values():
        backbones.check(backbone)
        runtime.check(params.extract.device, backbone.precision)

    def start(name: str, backbone: Backbone) -> members.Member:
        return members.start(name, backbone, params.extract)

    rank = f" (process {share.rank} of {share.world})" if share.world > 1 else ""
    with open_images(args.images) as images:
        counts = extraction.extract(
            images,
            args.features,
            # Lazy: a concatenation's members are loaded one after another.
            (start(name, backbone) for name, backbone in chosen.items()),
            Plan(params.extract.ten_crop, params.extract.augmented_views),
            params.extract.dtype,
            share,
        )
        told = []
        for (name, backbone), count in zip(chosen.items(), counts, strict=True):
            cost = ""
            if backbone.precision != "float32" and count.computed and share.rank == 0:
                exact = backbone.model_copy(update={"precision": "float32"})
                ours, exactly = (start(name, one).runtime for one in (backbone, exact))
                cosine = median_cosine(images, ours, exactly)
                cost = f"; {backbone.precision}, median cosine with float32 {cosine:.4f}"
            told.append(f"{name}{rank}: {count}{cost}")
    return "; ".join(told)


if __name__ == "__main__":
    run(extract, parser(__doc__, "images", "features", backbone="alias in zoo"))

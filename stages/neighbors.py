"""Finds the training images whose features are most similar to those of each image of val."""

import argparse

from headstart.config import Params
from stages import parser, run


def neighbors(args: argparse.Namespace, params: Params) -> str:
    from headstart.evaluation.nearest_images import nearest_images
    from headstart.store.features import open_features
    from headstart.store.nearest_images import write_nearest_images

    limit = params.train_head.memory_limit
    with (
        open_features(args.features / "train.h5", limit) as train,
        open_features(args.features / "val.h5", limit) as val,
    ):
        images = nearest_images(train, val)
    name = args.features.name
    write_nearest_images(args.results / "neighbors" / f"{name}-train.tsv", images)
    count, kept = images.nearest.shape
    return f"{name}: the {kept} nearest of {len(train.examples)} train images for {count} of val"


if __name__ == "__main__":
    run(neighbors, parser(__doc__, "features", "results"))

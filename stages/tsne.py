"""Features of chosen classes in the plane, as a figure."""

import argparse

from headstart.params import Params
from stages import parser, run


def tsne(args: argparse.Namespace, params: Params) -> str:
    from headstart import features, tsne

    chosen = params.tsne
    found = features.load(args.features / f"{chosen.split}.h5")
    points, labels = tsne.project(
        found, chosen.classes, chosen.images_per_class, chosen.perplexity, chosen.seed
    )
    tsne.draw(points, labels, found.examples.classes, args.figure)
    return f"drew {len(points)} {chosen.split} images of {len(set(labels.tolist()))} classes"


if __name__ == "__main__":
    run(tsne, parser(__doc__, "features", "figure"))

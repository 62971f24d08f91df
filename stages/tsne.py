"""Features of chosen classes in the plane, as a figure."""

import argparse

from headstart.config import Params
from stages import parser, run


def tsne(args: argparse.Namespace, params: Params) -> str:
    from headstart.evaluation.tsne_embedding import project_features
    from headstart.report.tsne_figure import draw_tsne
    from headstart.store.features import load_features

    chosen = params.tsne
    found = load_features(args.features / f"{chosen.split}.h5")
    points, labels = project_features(
        found, chosen.classes, chosen.images_per_class, chosen.perplexity, chosen.seed
    )
    draw_tsne(points, labels, found.examples.classes, args.figure)
    return f"drew {len(points)} {chosen.split} images of {len(set(labels.tolist()))} classes"


if __name__ == "__main__":
    run(tsne, parser(__doc__, "features", "figure"))

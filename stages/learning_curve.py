"""Trains one head on growing parts of the cached features, for its accuracy on val at each size."""

import argparse

from headstart.config import Params
from stages import entry, parser, run


def learning_curve(args: argparse.Namespace, params: Params) -> str:
    from headstart.evaluation.learning_curve_fitting import fit_learning_curve
    from headstart.store.features import open_features
    from headstart.store.learning_curves import write_learning_curve

    recipe = entry(params.heads, "heads", args.head)
    limit = params.train_head.memory_limit
    with (
        open_features(args.features / "train.h5", limit) as train,
        open_features(args.features / "tune.h5", limit) as tune,
        open_features(args.features / "val.h5", memory_limit=0) as val,
    ):
        curve = fit_learning_curve(
            recipe,
            train,
            tune,
            val,
            params.learning_curve,
            params.evaluate,
            params.train_head.device,
        )
    name = f"{args.features.name}-{args.head}"
    write_learning_curve(args.results / "learning_curves" / f"{name}.tsv", curve)

    accuracies = ", ".join(f"{point.images_per_class}: {point.top1:.1%}" for point in curve)
    return f"{name}: top-1 by images per class, {accuracies} ({len(val.examples)} val images)"


if __name__ == "__main__":
    run(learning_curve, parser(__doc__, "features", "results", head="alias in params.yaml's heads"))

"""One head on few cached features of each class, then on more: accuracy on val at each number."""

import argparse

from headstart.params import Params
from stages import entry, parser, run


def learning_curve(args: argparse.Namespace, params: Params) -> str:
    from headstart import learning_curve
    from headstart.features import opened
    from headstart.heads import few_images

    recipe = entry(params.heads, "heads", args.head)
    limit = params.train_head.memory_limit
    with (
        opened(args.features / "train.h5", limit) as train,
        opened(args.features / "tune.h5", limit) as tune,
        opened(args.features / "val.h5", memory_limit=0) as val,
    ):
        curve = few_images.learning_curve(
            recipe,
            train,
            tune,
            val,
            params.learning_curve,
            params.evaluate,
            params.train_head.device,
        )
    learning_curve.write(args.curve, curve)

    found = ", ".join(f"{point.images_per_class}: {point.top1:.1%}" for point in curve)
    return f"{args.curve.stem}: top-1 by images a class, {found} ({len(val.examples)} val images)"


if __name__ == "__main__":
    run(learning_curve, parser(__doc__, "features", "curve", head="alias in params.yaml's heads"))

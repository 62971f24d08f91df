"""Trains one head on cached features: the head, and its curve as a table and a figure."""

import argparse

from headstart.params import Params
from stages import parser, run


def train_head(args: argparse.Namespace, params: Params) -> str:
    from headstart import features
    from headstart.heads import curve, head
    from headstart.heads.fit import fit

    recipe = params.heads[args.head]
    train = features.load(args.features / "train.h5")
    tune = features.load(args.features / "tune.h5")
    fitted = fit(recipe, train, tune)

    head.save(args.model / "head.safetensors", fitted.head)
    curve.write(args.model / "curve.tsv", fitted.curve)
    curve.draw(args.model / "curve.svg", fitted.curve)

    last = fitted.curve[-1]
    return (
        f"{args.model.name}: top-1 {last.train_top1:.1%} on {len(train.examples)} train images, "
        f"{last.tune_top1:.1%} on {len(tune.examples)} tune images after {last.epoch} epochs"
    )


if __name__ == "__main__":
    run(train_head, parser(__doc__, "features", "model", head="alias in params.yaml's heads"))

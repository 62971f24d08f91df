"""Fits one head to cached features: the head, how its training went, what tune chose it from."""

import argparse

from headstart.config import Params
from stages import entry, parser, run


def train_head(args: argparse.Namespace, params: Params) -> str:
    from headstart.heads.fitting import fit_head, save_fit
    from headstart.store.features import open_features

    recipe = entry(params.heads, "heads", args.head)
    limit = params.train_head.memory_limit
    with (
        open_features(args.features / "train.h5", limit) as train,
        open_features(args.features / "tune.h5", limit) as tune,
    ):
        fitted = fit_head(recipe, train, tune, params.train_head.device)
    save_fit(args.model, fitted)

    chosen = ", ".join(f"{key} {value}" for key, value in fitted.settings.items())
    return (
        f"{args.model.name}: {len(train.examples)} train images, top-1 {fitted.score.top1:.1%} on "
        f"{len(tune.examples)} tune images"
        + (f" (of {len(fitted.surface.scores)}: {chosen})" if chosen else "")
    )


if __name__ == "__main__":
    run(train_head, parser(__doc__, "features", "model", head="alias in params.yaml's heads"))

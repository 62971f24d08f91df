"""Fits one head to cached features, and writes its training curve and tuning results."""

import argparse

from headstart.config import Params
from stages import entry, parser, run


def train_head(args: argparse.Namespace, params: Params) -> str:
    from headstart.heads.familiarity import (
        FAMILIARITY_FILE,
        familiarity_of_features,
        save_familiarity,
    )
    from headstart.heads.fitted_head import HEAD_FILE, save_head
    from headstart.heads.fitting import fit_head
    from headstart.metrics.selection import CRITERIA
    from headstart.store.features import open_features
    from headstart.store.training_curves import write_training_curve
    from headstart.store.tuning_results import write_tuning_results

    recipe = entry(params.heads, "heads", args.head)
    limit = params.train_head.memory_limit
    with (
        open_features(args.features / "train.h5", limit) as train,
        open_features(args.features / "tune.h5", limit) as tune,
    ):
        choose_by = params.evaluate.choose_by
        fitted = fit_head(recipe, train, tune, params.train_head.device, choose_by)
        familiarity = familiarity_of_features(train, tune)
    name = args.model.name
    save_head(args.model / HEAD_FILE, fitted.head)
    save_familiarity(args.model / FAMILIARITY_FILE, familiarity)
    write_training_curve(args.results / "training" / f"{name}.tsv", fitted.curve)
    write_tuning_results(args.results / "tuning" / f"{name}.tsv", fitted.surface)

    chosen = ", ".join(f"{key} {value}" for key, value in fitted.settings.items())
    return (
        f"{name}: {len(train.examples)} train images, {CRITERIA[choose_by].title} "
        f"{fitted.score.value:.1%} on {len(tune.examples)} tune images"
        + (f" (of {len(fitted.surface.scores)}: {chosen})" if chosen else "")
    )


if __name__ == "__main__":
    run(
        train_head,
        parser(__doc__, "features", "model", "results", head="alias in params.yaml's heads"),
    )

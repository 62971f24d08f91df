"""Averages the predictions of several runs or snapshots; tune may choose which of them."""

import argparse

from headstart.config import Params
from stages import entry, parser, run


def ensemble(args: argparse.Namespace, params: Params) -> str:
    from headstart.evaluation.ensembles import (
        align_members,
        average_members,
        choose_members,
        ensemble_curve,
        member_names,
    )
    from headstart.store.ensemble_curves import EnsembleCurve, write_ensemble_curve
    from headstart.store.predictions import load_predictions, save_predictions

    recipe = entry(params.ensembles, "ensembles", args.name)
    names = member_names(recipe, args.predictions)
    folders = [args.predictions / name for name in names]
    splits = {
        split: align_members([load_predictions(folder / f"{split}.h5") for folder in folders])
        for split in ("tune", "val", "test")
        if split != "test" or (folders[0] / "test.h5").exists()
    }
    members = list(range(len(folders)))
    curve: EnsembleCurve = []
    if recipe.choose != "all":
        choice = choose_members(
            splits["tune"],
            splits["val"],
            recipe.average,
            recipe.choose,
            params.evaluate.choose_by,
        )
        members, curve = choice.members, ensemble_curve(choice, names)
    write_ensemble_curve(args.results / "ensembles" / f"{args.name}.tsv", curve)
    for split, predictions in splits.items():
        averaged = average_members([predictions[member] for member in members], recipe.average)
        save_predictions(args.ensemble / f"{split}.h5", averaged)
    averaged_names = ", ".join(names[member] for member in members)
    return f"{args.name}: averaged the {recipe.average} of {len(members)} ({averaged_names})"


if __name__ == "__main__":
    run(ensemble, parser(__doc__, "predictions", "ensemble", "results", name="alias in ensembles"))

"""Several runs' or snapshots' predictions averaged into one's; where asked, tune chooses which."""

import argparse

from headstart.config import Params
from stages import entry, parser, run


def ensemble(args: argparse.Namespace, params: Params) -> str:
    from headstart.evaluation.ensembles import (
        align_members,
        average_members,
        choose_members,
        member_names,
        write_ensemble_curve,
    )
    from headstart.report.ensemble_figure import draw_ensemble_curve
    from headstart.store.predictions import load_predictions, save_predictions

    wanted = entry(params.ensembles, "ensembles", args.name)
    names = member_names(wanted, args.predictions)
    folders = [args.predictions / name for name in names]
    splits = {
        split: align_members([load_predictions(folder / f"{split}.h5") for folder in folders])
        for split in ("tune", "val", "test")
        if split != "test" or (folders[0] / "test.h5").exists()
    }
    members = list(range(len(folders)))
    if wanted.choose != "all":
        choice = choose_members(splits["tune"], splits["val"], wanted.average, wanted.choose)
        members = choice.members
        write_ensemble_curve(args.ensemble / "curve.tsv", choice, names)
        draw_ensemble_curve(args.ensemble / "curve.svg", choice)
    for split, found in splits.items():
        averaged = average_members([found[member] for member in members], wanted.average)
        save_predictions(args.ensemble / f"{split}.h5", averaged)
    averaged_names = ", ".join(names[member] for member in members)
    return f"{args.name}: averaged the {wanted.average} of {len(members)} ({averaged_names})"


if __name__ == "__main__":
    run(ensemble, parser(__doc__, "predictions", "ensemble", name="alias in ensembles"))

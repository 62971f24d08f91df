"""Several runs' or snapshots' predictions averaged into one's; where asked, tune chooses which."""

import argparse

from headstart.params import Params
from stages import entry, parser, run


def ensemble(args: argparse.Namespace, params: Params) -> str:
    from headstart import ensembles, predictions

    wanted = entry(params.ensembles, "ensembles", args.name)
    names = ensembles.member_names(wanted, args.predictions)
    folders = [args.predictions / name for name in names]
    splits = {
        split: ensembles.align([predictions.load(folder / f"{split}.h5") for folder in folders])
        for split in ("tune", "val", "test")
        if split != "test" or (folders[0] / "test.h5").exists()
    }
    members = list(range(len(folders)))
    if wanted.choose != "all":
        choice = ensembles.choose(splits["tune"], splits["val"], wanted.average, wanted.choose)
        members = choice.members
        ensembles.write_curve(args.ensemble / "curve.tsv", choice, names)
        ensembles.draw_curve(args.ensemble / "curve.svg", choice)
    for split, found in splits.items():
        averaged = ensembles.average([found[member] for member in members], wanted.average)
        predictions.save(args.ensemble / f"{split}.h5", averaged)
    averaged_names = ", ".join(names[member] for member in members)
    return f"{args.name}: averaged the {wanted.average} of {len(members)} ({averaged_names})"


if __name__ == "__main__":
    run(ensemble, parser(__doc__, "predictions", "ensemble", name="alias in ensembles"))

"""Several runs' predictions averaged into one's; where asked, tune chooses which."""

import argparse

from headstart.params import Params
from stages import entry, parser, run


def ensemble(args: argparse.Namespace, params: Params) -> str:
    from headstart import ensembles, predictions

    wanted = entry(params.ensembles, "ensembles", args.name)
    folders = [args.predictions / member for member in wanted.members]
    splits = {
        split: ensembles.align([predictions.load(folder / f"{split}.h5") for folder in folders])
        for split in ("tune", "val", "test")
        if split != "test" or (folders[0] / "test.h5").exists()
    }
    members = list(range(len(folders)))
    if wanted.choose != "all":
        choice = ensembles.choose(splits["tune"], splits["val"], wanted.average, wanted.choose)
        members = choice.members
        ensembles.write_curve(args.ensemble / "curve.tsv", choice, wanted.members)
        ensembles.draw_curve(args.ensemble / "curve.svg", choice)
    for split, found in splits.items():
        averaged = ensembles.average([found[member] for member in members], wanted.average)
        predictions.save(args.ensemble / f"{split}.h5", averaged)
    names = ", ".join(wanted.members[member] for member in members)
    return f"{args.name}: averaged the {wanted.average} of {len(members)} runs ({names})"


if __name__ == "__main__":
    run(ensemble, parser(__doc__, "predictions", "ensemble", name="alias in ensembles"))

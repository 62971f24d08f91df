"""Reads every image of the dataset once, decides the splits and writes the manifest."""

from argparse import Namespace

from headstart.params import Params
from stages import parser, run


def prepare(args: Namespace, params: Params) -> str:
    from collections import Counter

    from headstart import assignment, datasets, manifest
    from headstart import prepare as preparation
    from headstart.decode import set_up_pillow

    set_up_pillow()
    dataset = datasets.load(params.dataset)
    made = preparation.prepare(dataset, params.prepare)
    manifest.save(args.manifest, made.manifest)
    if made.bad:
        print(f"left out, as they can't be read:\n{preparation.table(made.bad)}")
    splits = [entry.split for entry in made.manifest.entries]
    counts = Counter(splits)
    figures = ", ".join(f"{counts[split]} {split}" for split in manifest.SPLITS)
    said = (
        f"{len(splits)} images of {len(made.manifest.classes)} classes: {figures}; "
        f"{len(made.bad)} unreadable, {dataset.ignored} other files passed over"
    )
    if changes := assignment.record(params.dataset, made.contents, splits):
        said += (
            f"; since the last run {changes.moved} changed splits, {changes.added} were added, "
            f"{changes.removed} removed"
        )
    return said


if __name__ == "__main__":
    run(prepare, parser(__doc__, "manifest"))

"""Reads every image of the dataset once, holds tune out of train and writes the manifest."""

from argparse import Namespace

from headstart.params import Params
from stages import parser, run


def prepare(args: Namespace, params: Params) -> str:
    from collections import Counter

    from headstart import datasets, manifest
    from headstart import prepare as preparation
    from headstart.decode import set_up_pillow

    set_up_pillow()
    dataset = datasets.load(params.dataset)
    found, bad = preparation.prepare(dataset, params.prepare)
    manifest.save(args.manifest, found)
    if bad:
        print(f"left out, as they can't be read:\n{preparation.table(bad)}")
    counts = Counter(entry.split for entry in found.entries)
    figures = ", ".join(f"{counts[split]} {split}" for split in manifest.SPLITS)
    return (
        f"{len(found.entries)} images of {len(found.classes)} classes: {figures}; "
        f"{len(bad)} unreadable, {dataset.ignored} other files passed over"
    )


if __name__ == "__main__":
    run(prepare, parser(__doc__, "manifest"))

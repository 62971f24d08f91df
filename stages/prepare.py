"""Reads every image of the dataset once, decides the splits and writes the manifest."""

from argparse import Namespace

from headstart.config import Params
from stages import parser, run


def prepare(args: Namespace, params: Params) -> str:
    from collections import Counter

    from headstart.data import datasets
    from headstart.data.decoding import set_up_pillow
    from headstart.data.manifest import save_manifest
    from headstart.data.preparation import bad_image_table, prepare_dataset
    from headstart.data.split_changes import record_splits
    from headstart.store.examples import SPLITS

    set_up_pillow()
    dataset = datasets.load_dataset(params.dataset)
    made = prepare_dataset(dataset, params.prepare)
    save_manifest(args.manifest, made.manifest)
    if made.bad:
        print(f"left out, as they can't be read:\n{bad_image_table(made.bad)}")
    splits = [entry.split for entry in made.manifest.entries]
    counts = Counter(splits)
    figures = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
    said = (
        f"{len(splits)} images of {len(made.manifest.classes)} classes: {figures}; "
        f"{len(made.bad)} unreadable, {dataset.ignored} other files passed over"
    )
    if changes := record_splits(params.dataset, made.contents, splits):
        said += (
            f"; since the last run {changes.moved} changed splits, {changes.added} were added, "
            f"{changes.removed} removed"
        )
    return said


if __name__ == "__main__":
    run(prepare, parser(__doc__, "manifest"))

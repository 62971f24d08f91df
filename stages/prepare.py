"""Reads every image of the dataset once, decides the splits and writes the manifest."""

from argparse import Namespace

from headstart.config import Params
from stages import parser, run


def prepare(args: Namespace, params: Params) -> str:
    from collections import Counter

    from headstart.data import datasets
    from headstart.data.decoding import set_up_pillow
    from headstart.data.exclusions import exclude_images, load_excluded_ids
    from headstart.data.manifest import save_manifest
    from headstart.data.preparation import prepare_dataset, unreadable_image_table
    from headstart.data.split_changes import record_splits
    from headstart.store.examples import SPLITS

    set_up_pillow()
    excluded = load_excluded_ids(params.prepare.exclude)
    dataset = exclude_images(datasets.load_dataset(params.dataset), excluded)
    prepared = prepare_dataset(dataset, params.prepare)
    save_manifest(args.manifest, prepared.manifest, params.prepare.shards)
    if prepared.unreadable:
        print(f"left out, as they can't be read:\n{unreadable_image_table(prepared.unreadable)}")
    for remark in prepared.remarks:
        print(remark)
    splits = [entry.split for entry in prepared.manifest.entries]
    counts = Counter(splits)
    figures = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
    summary = (
        f"{len(splits)} images of {len(prepared.manifest.classes)} classes: {figures}; "
        f"{len(excluded)} excluded, {len(prepared.unreadable)} unreadable, "
        f"{dataset.ignored} other files passed over"
    )
    contents = [entry.content for entry in prepared.manifest.entries]
    if changes := record_splits(params.dataset, contents, splits):
        summary += (
            f"; since the last run {changes.moved} changed splits, {changes.added} were added, "
            f"{changes.removed} removed"
        )
    return summary


if __name__ == "__main__":
    run(prepare, parser(__doc__, "manifest"))

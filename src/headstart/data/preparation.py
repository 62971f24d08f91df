"""From a dataset to a manifest: every image is read once, all that is wrong is said at once.

What is held out of train, as tune and as the val of a dataset that has none, follows from what the
images' files hold and never from their names: renaming a file or a class moves nothing, and all
copies of a file in a class stay on one side.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from hashlib import sha256

from headstart.config import Prepare
from headstart.core.errors import UserError
from headstart.core.thread_map import thread_map
from headstart.data.datasets.base import Dataset, Record
from headstart.data.decoding import UnreadableImageError, decode
from headstart.data.manifest import Entry, Manifest, check_unique_ids
from headstart.data.splits import held_out
from headstart.store.examples import Split


@dataclass(frozen=True)
class UnreadableImage:
    """An image that can't be used. reason: as `decode.BadImage` gives it."""

    id: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """contents: SHA-256 of the file of each of the manifest's entries, hexadecimal. bad: the images
    that are not in the manifest.
    """

    manifest: Manifest
    contents: list[str]
    bad: list[UnreadableImage]


def prepare_dataset(dataset: Dataset, section: Prepare) -> Prepared:
    """The manifest of the readable images, with `tune` held out of train, and val where there is
    none.

    Raises:
        UserError: there are unreadable images and `section.on_bad_image` is `stop`; or what is left
            can't be trained, tuned and validated on (see `missing`). All is said at once.
    """
    check_unique_ids(record.id for record in dataset.records)

    def inspect(record: Record) -> tuple[Entry, str] | UnreadableImage:
        try:
            data = dataset.read(record.id)
            height, width, _ = decode(data, section.max_pixels).shape
        except UnreadableImageError as bad:
            return UnreadableImage(record.id, str(bad))
        entry = Entry(record.id, record.split, record.label, width, height, record.box)
        return entry, sha256(data).hexdigest()

    entries: list[Entry] = []
    contents: list[str] = []
    bad: list[UnreadableImage] = []
    for outcome in thread_map(inspect, dataset.records, "reading images"):
        if isinstance(outcome, UnreadableImage):
            bad.append(outcome)
        else:
            entries.append(outcome[0])
            contents.append(outcome[1])
    if dataset.val_fraction is not None:
        entries = _hold_out("val", entries, contents, dataset.val_fraction, dataset.seed)
    entries = _hold_out("tune", entries, contents, section.tune_fraction, section.seed)
    manifest = Manifest(dataset.classes, entries)
    problems = []
    lacking = missing(manifest)
    if bad and (lacking or section.on_bad_image == "stop"):
        problems.append(
            f"{len(bad)} of {len(dataset.records)} images can't be read:\n{bad_image_table(bad)}"
        )
    if bad and section.on_bad_image == "stop":
        problems.append(
            "Repair or delete them, or leave them out with `prepare.on_bad_image: skip`."
        )
    if lacking:
        counted = "Without them, " if bad else ""
        problems.append(counted + lacking)
    if problems:
        raise UserError("\n".join(problems))
    return Prepared(manifest, contents, bad)


def bad_image_table(bad: list[UnreadableImage]) -> str:
    """A line an image: its id, then the reason."""
    width = max(len(record.id) for record in bad)
    return "\n".join(f"  {record.id:{width}}  {record.reason}" for record in bad)


def _hold_out(
    split: Split, entries: list[Entry], contents: list[str], fraction: float, seed: int
) -> list[Entry]:
    """`entries` with `fraction` of each class's distinct training images in `split`."""
    by_class = defaultdict(set)
    for entry, content in zip(entries, contents, strict=True):
        if entry.split == "train":
            by_class[entry.label].add(content)
    chosen = {label: held_out(of_class, fraction, seed) for label, of_class in by_class.items()}
    return [
        replace(entry, split=split)
        if entry.split == "train" and content in chosen[entry.label]
        else entry
        for entry, content in zip(entries, contents, strict=True)
    ]


def missing(manifest: Manifest) -> str:
    """What keeps a classifier from being trained, tuned and validated; empty where nothing does."""
    if len(manifest.classes) < 2:
        return f"{len(manifest.classes)} class is nothing to tell apart; give two or more"
    found = Counter((entry.split, entry.label) for entry in manifest.entries)
    problems = []
    for split in ("train", "tune", "val"):
        lacking = [
            f"'{c.name}'" for label, c in enumerate(manifest.classes) if not found[split, label]
        ]
        if lacking:
            problems.append(f"{split} has no image of {', '.join(lacking)}")
    if not problems:
        return ""
    return "\n".join(problems) + (
        "\nEvery class needs two different training images (one is held out for `tune`) and a "
        "validation image; add images, or remove the class from every split."
    )

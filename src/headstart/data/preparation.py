"""Makes the manifest of a dataset: reads every image once and reports all problems at once.

The images held out of train, as tune and as val of a dataset without val, are chosen by the
contents of their files, never by their names: renaming a file or a class changes no split, and all
copies of a file in a class are in the same split. Where the dataset names groups, all of a group's
images are in the same split, and the groups are chosen by their names.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from headstart.config import Prepare
from headstart.core.errors import UserError
from headstart.core.thread_map import thread_map
from headstart.data.datasets.base import Box, Dataset, Record
from headstart.data.decoding import UnreadableImageError, decode
from headstart.data.manifest import Entry, Manifest, check_unique_ids
from headstart.data.splits import Group, connected, held_out_groups, wanted_sizes
from headstart.store.examples import ClassLabel, Split
from headstart.store.shards import shard_of

SHOWN_BOXES = 20
"""How many wrong boxes a message lists."""

SHARD_IMAGES = 1_000_000
"""Images above which a shard takes more memory than a process should need."""


@dataclass(frozen=True)
class UnreadableImage:
    """An image that can't be read. reason: the message of its `UnreadableImageError`."""

    id: str
    reason: str


@dataclass(frozen=True)
class PreparedDataset:
    """A manifest and what was learned while reading the images.

    unreadable: the images that are left out of the manifest. remarks: sentences about groups that
    keep splits from having the size that was asked for, or that the dataset itself divides, and
    about the size of the shards.
    """

    manifest: Manifest
    unreadable: list[UnreadableImage]
    remarks: list[str]


def prepare_dataset(dataset: Dataset, section: Prepare) -> PreparedDataset:
    """Makes the manifest of the readable images and holds out tune, and val if there is none.

    Raises:
        UserError: there are unreadable images and `section.on_bad_image` is `stop`; boxes don't lie
            within their images; or a split lacks images of a class (see `describe_missing_images`).
            All problems are reported at once.
    """
    check_unique_ids(record.id for record in dataset.records)

    def inspect(record: Record) -> Entry | UnreadableImage:
        try:
            data = dataset.read(record.id)
            height, width, _ = decode(data, section.max_pixels).shape
        except UnreadableImageError as error:
            return UnreadableImage(record.id, str(error))
        return Entry(
            record.id,
            record.split,
            record.label,
            width,
            height,
            record.boxes,
            record.group,
            sha256(data).hexdigest(),
        )

    entries: list[Entry] = []
    unreadable: list[UnreadableImage] = []
    for outcome in thread_map(inspect, dataset.records, "reading images", dataset.reads_at_once):
        if isinstance(outcome, UnreadableImage):
            unreadable.append(outcome)
        else:
            entries.append(outcome)
    shares: list[tuple[Split, float, int]] = [("tune", section.tune_fraction, section.seed)]
    if dataset.val_fraction is not None:
        shares.insert(0, ("val", dataset.val_fraction, dataset.seed))
    remarks = list(_divided_groups(entries))
    for split, fraction, seed in shares:
        before = entries
        entries = _hold_out(split, before, fraction, seed)
        remarks += _imbalance(split, before, entries, fraction, dataset.classes)
    manifest = Manifest(dataset.classes, entries)
    remarks += _large_shards(len(entries), section.shards)
    problems = []
    missing = describe_missing_images(manifest)
    if unreadable and (missing or section.on_bad_image == "stop"):
        problems.append(
            f"{len(unreadable)} of {len(dataset.records)} images can't be read:\n"
            f"{unreadable_image_table(unreadable)}"
        )
    if unreadable and section.on_bad_image == "stop":
        problems.append(
            "Repair or delete them, or leave them out with `prepare.on_bad_image: skip`."
        )
    if outside := boxes_outside(entries):
        problems.append(outside)
    if missing:
        problems.append(("Without them, " if unreadable else "") + missing)
    if empty := _empty_shards(entries, section.shards):
        problems.append(empty)
    if problems:
        raise UserError("\n".join(problems))
    return PreparedDataset(manifest, unreadable, remarks)


def _large_shards(images: int, shards: int) -> Iterator[str]:
    """Says how many shards there should be, if a shard takes much memory."""
    if images > SHARD_IMAGES * shards:
        yield (
            f"prepare.shards: {shards} gives shards of {images // shards:,} images, and a process "
            f"holds what it knows of all images of a shard, some 300 bytes each; "
            f"{-(-images // SHARD_IMAGES)} or more give shards of at most {SHARD_IMAGES:,}"
        )


def _empty_shards(entries: list[Entry], shards: int) -> str:
    """Says how many shards have no image; returns "" if all have some."""
    empty = shards - len({shard_of(entry.id, shards) for entry in entries})
    if not entries or not empty:
        return ""
    return (
        f"prepare.shards: {empty} of {shards} shards have no image; lower it ({len(entries):,} "
        f"images are best kept in {-(-len(entries) // SHARD_IMAGES)})"
    )


def boxes_outside(entries: list[Entry]) -> str:
    """Describes which boxes don't lie within their images; returns "" if all do."""
    outside = [
        f"  {entry.id}  {_edges(box)} in {entry.width} x {entry.height} px"
        for entry in entries
        for box in entry.boxes
        if min(box) < 0 or box[2] > entry.width or box[3] > entry.height
    ]
    if not outside:
        return ""
    more = [f"  and {len(outside) - SHOWN_BOXES} more"] if len(outside) > SHOWN_BOXES else []
    return "\n".join(
        [
            f"{len(outside)} boxes don't lie within their images:",
            *outside[:SHOWN_BOXES],
            *more,
            "Give x1, y1, x2, y2 in px of the image as it is shown (EXIF orientation applied).",
        ]
    )


def _edges(box: Box) -> str:
    return ", ".join(f"{edge:g}" for edge in box)


def unreadable_image_table(images: list[UnreadableImage]) -> str:
    """Returns one line per image: its id and the reason."""
    width = max(len(image.id) for image in images)
    return "\n".join(f"  {image.id:{width}}  {image.reason}" for image in images)


def _hold_out(split: Split, entries: list[Entry], fraction: float, seed: int) -> list[Entry]:
    """Moves `fraction` of each class's distinct training images to `split`, groups as a whole."""
    together = _kept_together(entries)
    groups = [
        Group(
            min(
                (g for i in members if (g := entries[i].group)),
                default=entries[members[0]].content,
            ),
            Counter(
                label for label, _ in {(entries[i].label, entries[i].content) for i in members}
            ),
        )
        for members in together
    ]
    chosen = held_out_groups(groups, fraction, seed)
    moved = {i for position in chosen for i in together[position]}
    return [replace(e, split=split) if i in moved else e for i, e in enumerate(entries)]


def _kept_together(entries: list[Entry]) -> list[list[int]]:
    """Returns the positions of training images that are copies in a class or share a group.

    Groups that share a file of a class are kept together, too.
    """
    train = [i for i, entry in enumerate(entries) if entry.split == "train"]
    links = []
    for i in train:
        file, group = ("file", entries[i].label, entries[i].content), ("group", entries[i].group)
        links.append((file, file if entries[i].group is None else group))
    together = defaultdict(list)
    for i, component in zip(train, connected(links), strict=True):
        together[component].append(i)
    return list(together.values())


def _divided_groups(entries: list[Entry]) -> Iterator[str]:
    """Says which groups the dataset itself has in several splits."""
    splits = defaultdict(set)
    for entry in entries:
        if entry.group is not None:
            splits[entry.group].add(entry.split)
    if divided := sorted(group for group, of_group in splits.items() if len(of_group) > 1):
        shown = ", ".join(f"'{group}'" for group in divided[:5]) + ", …" * (len(divided) > 5)
        yield f"the dataset's own splits divide {len(divided)} of {len(splits)} groups: {shown}"


def _imbalance(
    split: Split,
    before: list[Entry],
    after: list[Entry],
    fraction: float,
    classes: list[ClassLabel],
) -> Iterator[str]:
    """Says by how much the shares of the classes differ from `fraction`, if groups are why."""
    if all(entry.group is None for entry in before if entry.split == "train"):
        return
    sizes, taken = Counter(), Counter()
    for label, _, moved in {
        (old.label, old.content, new.split == split)
        for old, new in zip(before, after, strict=True)
        if old.split == "train"
    }:
        sizes[label] += 1
        taken[label] += moved
    if all(taken[label] == count for label, count in wanted_sizes(sizes, fraction).items()):
        return
    shares = sorted((taken[label] / sizes[label], classes[label].name) for label in sizes)
    (low, least), (high, most) = shares[0], shares[-1]
    yield (
        f"{split} has {low:.1%} ('{least}') to {high:.1%} ('{most}') of each class's images instead"
        f" of {fraction:.1%}, because groups stay together"
    )


def describe_missing_images(manifest: Manifest) -> str:
    """Describes which classes lack images in train, tune or val; returns "" if none does."""
    if len(manifest.classes) < 2:
        return f"there is only {len(manifest.classes)} class; a classifier needs two or more"
    counts = Counter((entry.split, entry.label) for entry in manifest.entries)
    problems = []
    for split in ("train", "tune", "val"):
        names = [
            f"'{c.name}'" for label, c in enumerate(manifest.classes) if not counts[split, label]
        ]
        if names:
            problems.append(f"{split} has no image of {', '.join(names)}")
    if not problems:
        return ""
    grouped = any(entry.group is not None for entry in manifest.entries)
    return (
        "\n".join(problems)
        + (
            "\nEvery class needs two different training images (one is held out for `tune`) and a "
            "validation image; add images, or remove the class from every split."
        )
        + (" Images of one group count as one, because they stay together." if grouped else "")
    )

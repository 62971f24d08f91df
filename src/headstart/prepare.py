"""From a dataset to a manifest: every image is read once, all that is wrong is said at once."""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from headstart.datasets.contract import Dataset, Record
from headstart.decode import BadImage, decode
from headstart.errors import UserError
from headstart.manifest import Entry, Manifest, check_unique
from headstart.parallel import mapped
from headstart.params import Prepare
from headstart.splits import held_out


@dataclass(frozen=True)
class BadRecord:
    """An image that can't be used. reason: as `decode.BadImage` gives it."""

    id: str
    reason: str


def prepare(dataset: Dataset, section: Prepare) -> tuple[Manifest, list[BadRecord]]:
    """The manifest of the readable images, with `tune` held out of train, and the other images.

    Raises:
        UserError: there are unreadable images and `section.on_bad_image` is `stop`; or what is left
            can't be trained, tuned and validated on (see `missing`). All is said at once.
    """
    check_unique(record.id for record in dataset.records)

    def inspect(record: Record) -> Entry | BadRecord:
        try:
            height, width, _ = decode(dataset.read(record.id), section.max_pixels).shape
        except BadImage as bad:
            return BadRecord(record.id, str(bad))
        return Entry(record.id, record.split, record.label, width, height, record.box)

    entries, bad = [], []
    for outcome in mapped(inspect, dataset.records, "reading images"):
        (bad if isinstance(outcome, BadRecord) else entries).append(outcome)
    manifest = Manifest(dataset.classes, _with_tune(entries, section))
    problems = []
    lacking = missing(manifest)
    if bad and (lacking or section.on_bad_image == "stop"):
        problems.append(f"{len(bad)} of {len(dataset.records)} images can't be read:\n{table(bad)}")
    if bad and section.on_bad_image == "stop":
        problems.append(
            "Repair or delete them, or leave them out with `prepare.on_bad_image: skip`."
        )
    if lacking:
        counted = "Without them, " if bad else ""
        problems.append(counted + lacking)
    if problems:
        raise UserError("\n".join(problems))
    return manifest, bad


def table(bad: list[BadRecord]) -> str:
    """A line an image: its id, then the reason."""
    width = max(len(record.id) for record in bad)
    return "\n".join(f"  {record.id:{width}}  {record.reason}" for record in bad)


def _with_tune(entries: list[Entry], section: Prepare) -> list[Entry]:
    by_class = defaultdict(list)
    for entry in entries:
        if entry.split == "train":
            by_class[entry.label].append(entry.id)
    tune: set[str] = set()
    for ids in by_class.values():
        tune |= held_out(ids, section.tune_fraction, section.seed)
    return [replace(entry, split="tune") if entry.id in tune else entry for entry in entries]


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
        "\nEvery class needs two training images (one is held out for `tune`) and a validation "
        "image; add images, or remove the class from every split."
    )

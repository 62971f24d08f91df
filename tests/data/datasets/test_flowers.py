import csv
import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.config import Prepare
from headstart.core.errors import UserError
from headstart.core.flower_photographs import ARCHIVE, sample_photographs
from headstart.data.datasets import Dataset, Flowers, flowers
from headstart.data.datasets.flowers import photographers
from headstart.data.decoding import decode
from headstart.data.preparation import prepare_dataset
from scripts.embed_flowers import FOLDER, read_source, to_small_srgb, to_srgb
from tests.data.datasets import layouts

SOURCE = Path("../shared/data/flower_photos-500.zip")
MEGABYTE = 1_000_000


def load(path: Path) -> Dataset:
    return Flowers(path=path).load()


def test_reads_the_layout_of_the_public_archive(tmp_path: Path):
    dataset = load(layouts.flower_photos(tmp_path))
    assert [c.id for c in dataset.classes] == [
        "daisy",
        "dandelion",
        "roses",
        "sunflowers",
        "tulips",
    ]
    assert Counter(record.label for record in dataset.records) == dict.fromkeys(range(5), 4)
    by_id = {record.id: record for record in dataset.records}
    assert by_id["daisy/03_x_m.jpg"].group == by_id["dandelion/11_x_m.jpg"].group == "3@N00"
    assert by_id["daisy/02_x_m.jpg"].group == by_id["dandelion/10_x_m.jpg"].group == "2@N00"
    assert dataset.val_fraction == 0.2


def test_every_place_that_path_may_name_gives_the_same(tmp_path: Path):
    unpacked = layouts.flower_photos(tmp_path / "unpacked" / "flower_photos")
    zipped = layouts.zipped(unpacked, tmp_path / "flowers.zip", "flower_photos/")
    (tmp_path / "packed").mkdir()
    packed = layouts.tarred(unpacked, tmp_path / "packed" / "flower_photos.tgz", "flower_photos/")
    first, *others = map(load, [unpacked, unpacked.parent, zipped, packed, packed.parent])
    for other in others:
        assert (other.classes, other.records) == (first.classes, first.records)
        for record in first.records:
            assert other.read(record.id) == first.read(record.id)


def test_a_folder_without_it_gets_the_public_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = layouts.flower_photos(tmp_path / "made")

    def fake(url: str, path: Path, size: int, digest: str) -> None:
        assert url.endswith("/example_images/flower_photos.tgz")
        assert size == 228_813_984
        assert digest.startswith("sha256:4c54ace7")
        layouts.tarred(made, path, "flower_photos/")

    monkeypatch.setattr(flowers, "download", fake)
    (tmp_path / "raw").mkdir()
    assert len(load(tmp_path / "raw").records) == 20
    assert [file.name for file in (tmp_path / "raw").iterdir()] == ["flower_photos.tgz"]


def test_what_is_not_the_archive_is_said(tmp_path: Path):
    root = layouts.flower_photos(tmp_path / "a")
    (root / "roses" / "mine.jpg").write_bytes(b"x")
    with pytest.raises(
        UserError, match=r"LICENSE\.txt doesn't name 'roses/mine\.jpg'.*image_folde"
    ):
        load(root)
    for file in (root / "roses").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"a has no photograph in roses/"):
        load(root)
    other = layouts.zipped(layouts.image_folder(tmp_path / "b"), tmp_path / "other.zip")
    with pytest.raises(UserError, match=r"other\.zip has no flower_photos/LICENSE\.txt"):
        load(other)


def embedded() -> tuple[dict[str, bytes], dict[str, str]]:
    """The embedded photographs and texts, by their names."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        content = {n.removeprefix(FOLDER): archive.read(n) for n in archive.namelist()}
    texts = {n: content.pop(n).decode() for n in ("ATTRIBUTION.tsv", "LICENSE.txt")}
    return content, texts


def test_every_embedded_photograph_has_its_attribution():
    photographs, texts = embedded()
    stems = {name.rpartition(".")[0] for name in photographs}
    assert len(stems) == len(photographs) == 500
    rows = list(csv.DictReader(io.StringIO(texts["ATTRIBUTION.tsv"]), delimiter="\t"))
    assert sorted(row["file"].removesuffix(".jpg") for row in rows) == sorted(stems)
    for row in rows:
        assert row["author"].strip()
        assert row["url"].startswith("https://www.flickr.com/photos/")
        assert row["license"].startswith("CC-BY 2.0 https://creativecommons.org/licenses/by/2.0")
    assert set(photographers(texts["LICENSE.txt"])) == stems
    assert "Nothing else was changed" in texts["LICENSE.txt"]
    for name, text in texts.items():
        assert ARCHIVE.with_name(name).read_text("utf-8") == text
    assert ARCHIVE.stat().st_size < 9 * MEGABYTE


def test_embedded_photographs_are_small_srgb_without_metadata():
    photographs, _ = embedded()
    for data in list(photographs.values())[::20]:
        with Image.open(io.BytesIO(data)) as image:
            assert min(image.size) <= 300
            assert image.mode == "RGB"
            assert not {"icc_profile", "exif", "xmp"} & set(image.info)
    assert len(list(sample_photographs(50))) == 10


def test_the_default_splits_are_stratified_and_divide_no_photographer():
    dataset = Flowers(path=ARCHIVE, val_fraction=0.4).load()
    section = Prepare(
        tune_fraction=0.2, seed=0, on_bad_image="stop", max_pixels=10**6, exclude=Path("none.tsv")
    )
    prepared = prepare_dataset(dataset, section)
    entries = prepared.manifest.entries
    splits_of = {}
    for entry in entries:
        assert splits_of.setdefault(entry.group, entry.split) == entry.split
    assert len(splits_of) == 447
    counts = Counter((entry.split, entry.label) for entry in entries)
    for label in range(5):
        for split, wanted in (("val", 40), ("tune", 12), ("train", 48)):
            assert abs(counts[split, label] - wanted) <= 1
    assert len({entry.content for entry in prepared.manifest.entries}) == 500


@pytest.mark.skipif(not SOURCE.exists(), reason=f"needs {SOURCE}")
def test_embedded_photographs_show_what_the_source_shows():
    source, _ = read_source(SOURCE)
    photographs, _ = embedded()
    for name in sorted(source)[::25]:
        exact = np.asarray(to_small_srgb(source[name]).convert("RGB")).astype(int)
        small = decode(photographs[f"{name.removesuffix('.jpg')}.webp"], MEGABYTE)
        assert small.shape == exact.shape
        assert np.abs(small - exact).mean() < 12


@pytest.mark.skipif(not SOURCE.exists(), reason=f"needs {SOURCE}")
def test_adobe_rgb_becomes_srgb_by_the_definitions_of_both():
    """Adobe RGB (1998), sections 4.3.1 and 4.3.4; IEC 61966-2-1. Both have D65 as white."""
    source, _ = read_source(SOURCE)
    [data] = [d for d in source.values() if b"Adobe RGB (1998)" in d][:1]
    with Image.open(io.BytesIO(data)) as image:
        before = np.asarray(image).astype(int)
        linear = (before / 255) ** 2.19921875
        converted = np.asarray(to_srgb(image)).astype(int)
    to_xyz = np.array(
        [
            [0.57667, 0.18556, 0.18823],
            [0.29734, 0.62736, 0.07529],
            [0.02703, 0.07069, 0.99134],
        ]
    )
    srgb_to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    expected = linear @ to_xyz.T @ np.linalg.inv(srgb_to_xyz).T
    inside = ((expected > 0.001) & (expected < 0.999)).all(axis=-1)
    expected = np.where(
        expected <= 0.0031308, 12.92 * expected, 1.055 * abs(expected) ** (1 / 2.4) - 0.055
    )
    difference = np.abs(255 * expected - converted)[inside]
    assert inside.mean() > 0.5
    assert np.percentile(difference, 99) < 2
    assert np.abs(converted - before)[inside].max() > 5

import errno
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, ImageFolder
from headstart.data.decoding import UnreadableImageError
from tests.data.datasets import layouts
from tests.pictures import put


def load(path: Path, **options: float) -> Dataset:
    return ImageFolder(path=path, **options).load()  # type: ignore


def counts(dataset: Dataset) -> Counter[str]:
    return Counter(record.split for record in dataset.records)


def test_the_split_layout(tmp_path: Path):
    root = layouts.image_folder(tmp_path, "train", "val", "test")
    put(root / "train" / "Kuh" / "Alpen" / "2019" / "0.JPG")
    dataset = load(root)
    assert [(c.id, c.name) for c in dataset.classes] == [(n, n) for n in ("Hund", "Katze", "Kuh")]
    assert counts(dataset) == {"train": 16, "val": 15, "test": 15}
    by_id = {record.id: record for record in dataset.records}
    deep = by_id["train/Kuh/Alpen/2019/0.JPG"]
    assert (deep.label, deep.split) == (2, "train")
    assert by_id["test/Katze/3.png"].label == 1


def test_test_images_outside_of_class_folders_are_unlabeled(tmp_path: Path):
    root = layouts.image_folder(tmp_path, "train", "val")
    put(root / "test" / "x.png")
    put(root / "test" / "y.png")
    assert [r.label for r in load(root).records if r.split == "test"] == [None, None]
    put(root / "test" / "Kuh" / "z.png")
    with pytest.raises(UserError, match="put all test images into class folders or none"):
        load(root)


def test_without_val_a_share_of_train_is_wanted(tmp_path: Path):
    flat = load(layouts.image_folder(tmp_path / "flat"), val_fraction=0.3, seed=5)
    split = load(layouts.image_folder(tmp_path / "split", "train"), val_fraction=0.3, seed=5)
    for dataset in (flat, split):
        assert counts(dataset) == {"train": 15}
        assert (dataset.val_fraction, dataset.seed) == (0.3, 5)
    whole = load(layouts.image_folder(tmp_path / "whole", "train", "val"), val_fraction=0.3)
    assert whole.val_fraction is None


def test_hidden_files_are_not_looked_at_and_others_are_counted(tmp_path: Path):
    root = layouts.image_folder(tmp_path, "train", "val")
    for name in ("Thumbs.db", "README.txt", "labels.csv"):
        put(root / "train" / "Kuh" / name, b"x")
    for name in (".DS_Store", "._0.png", ".git/0.png"):
        put(root / "train" / "Kuh" / name, b"x")
    dataset = load(root)
    assert dataset.ignored == 3
    assert counts(dataset) == {"train": 15, "val": 15}


def test_a_zip_reads_as_the_folder_does_also_below_a_wrapper(tmp_path: Path):
    root = layouts.image_folder(tmp_path / "tiere", "train", "val")
    folder = load(root)
    for prefix in ("", "tiere/", "a/b/"):
        archive = layouts.zipped(root, tmp_path / "tiere.zip", prefix)
        with zipfile.ZipFile(archive, "a") as more:
            more.writestr("__MACOSX/tiere/train/._0.png", b"x")
        packed = load(archive)
        assert (packed.records, packed.classes) == (folder.records, folder.classes)
        assert packed.read("val/Kuh/1.png") == folder.read("val/Kuh/1.png")
        assert packed.ignored == 0


def test_a_damaged_or_encrypted_member_is_a_bad_image(tmp_path: Path):
    archive = layouts.zipped(layouts.image_folder(tmp_path / "x"), tmp_path / "x.zip")
    data = bytearray(archive.read_bytes())
    data[data.index(b"IDAT") + 9] ^= 1
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=r"damaged in the \.zip: Bad CRC-32"):
        load(damaged).read("Hund/0.png")

    data = bytearray(archive.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1
    damaged.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=r"damaged in the \.zip: .* is encrypted"):
        load(damaged).read("Hund/0.png")


def test_a_zip_whose_directory_is_damaged(tmp_path: Path):
    archive = layouts.zipped(layouts.image_folder(tmp_path / "x"), tmp_path / "x.zip")
    data = archive.read_bytes()
    directory = data.index(b"PK\x01\x02")
    newer = bytearray(data)
    newer[directory + 6] = 99  # the version that it takes to unpack the first member
    for damaged in (data[:directory] + b"????" + data[directory + 4 :], data[-500:], newer):
        archive.write_bytes(damaged)
        with pytest.raises(UserError, match=r"x\.zip is a damaged \.zip \(.*\); copy or download"):
            load(archive)


@pytest.mark.parametrize("name", ["x/Kuh", "x.zip"])
def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    root = layouts.image_folder(tmp_path / "x")
    layouts.zipped(root, tmp_path / "x.zip")
    forbidden = tmp_path / name

    def forbid(method: str) -> None:
        allowed = getattr(Path, method)

        def call(path: Path, *args: str) -> object:
            if path == forbidden:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return allowed(path, *args)

        monkeypatch.setattr(Path, method, call)

    forbid("iterdir")
    forbid("open")
    with pytest.raises(UserError, match=rf"{forbidden} can't be read \(Permission denied\); give"):
        load(forbidden if forbidden.suffix else root)


def test_a_member_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("headstart.data.files.safe_reading.MAX_FILE_BYTES", 100)
    root = layouts.image_folder(tmp_path / "x")
    for dataset in (load(root), load(layouts.zipped(root, tmp_path / "x.zip"))):
        with pytest.raises(UnreadableImageError, match="the file is larger than 100 bytes"):
            dataset.read("Hund/0.png")


def test_linked_folders_are_entered_and_loops_are_not(tmp_path: Path):
    root = layouts.image_folder(tmp_path / "x")
    (root / "Linked").symlink_to("Kuh")
    (root / "Hund" / "up").symlink_to(root)
    (root / "Kuh" / "self").symlink_to(root / "Kuh")
    (root / "Kuh" / "dogs").symlink_to(root / "Hund")
    (root / "Hund" / "cows").symlink_to(root / "Kuh")
    ids = [record.id for record in load(root).records]
    assert "Linked/0.png" in ids
    assert "Hund/cows/0.png" in ids
    assert not any("/up/" in id_ or "/self/" in id_ or "cows/dogs" in id_ for id_ in ids)


def test_an_unreadable_file_says_so(tmp_path: Path):
    root = layouts.image_folder(tmp_path)
    (root / "Kuh" / "0.png").unlink()
    (root / "Kuh" / "0.png").symlink_to("nowhere")
    with pytest.raises(UnreadableImageError, match="the file is missing"):
        load(root).read("Kuh/0.png")
    (root / "Kuh" / "1.png").unlink()
    (root / "Kuh" / "1.png").symlink_to("1.png")
    with pytest.raises(
        UnreadableImageError, match="the file can't be read: Too many levels of symbolic links"
    ):
        load(root).read("Kuh/1.png")


def test_names_in_any_script(tmp_path: Path):
    for name in ("кошка", "犬", "naïve é"):
        for split in ("train", "val"):
            put(tmp_path / split / name / "été 🐄.png")
            put(tmp_path / split / name / "#1%20?.png")
    dataset = load(tmp_path)
    assert [c.name for c in dataset.classes] == ["naïve é", "кошка", "犬"]
    assert counts(dataset) == {"train": 6, "val": 6}
    assert dataset.read("train/犬/été 🐄.png")


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path: Path):
    for name in ("caf\u00e9", "b"):
        put(tmp_path / "train" / name / "1.png")
    for name in ("cafe\u0301", "b"):
        put(tmp_path / "val" / name / "1.png")
    assert len(load(tmp_path).classes) == 2


def test_a_name_that_is_no_unicode(tmp_path: Path):
    put(tmp_path / "a" / "1.png")
    with Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/\xff.png")).open("wb"):
        pass
    with pytest.raises(UserError, match=r"'a/\\udcff.png' is not UTF-8; rename the file"):
        load(tmp_path)


def empty_class(root: Path) -> None:
    (root / "train" / "Esel").mkdir()
    put(root / "train" / "Floh" / "notes.txt", b"x")


def unknown_class(root: Path) -> None:
    put(root / "val" / "Katzen" / "1.png")


def unknown_split(root: Path) -> None:
    put(root / "vall" / "Kuh" / "1.png")


def image_without_class(root: Path) -> None:
    put(root / "train" / "1.png")


def no_train(root: Path) -> None:
    (root / "train").rename(root / "training")


def no_images(root: Path) -> None:
    (root / "train").rename(root.parent / "away")
    (root / "val").rename(root.parent / "away too")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty_class, "no images in the class folders 'Esel', 'Floh'; add some or delete"),
        (unknown_class, "train has no class 'Katzen'; did you mean 'Katze'?"),
        (unknown_split, "'vall/Kuh/1.png' is in none of train/, val/, test/; did you mean 'val'?"),
        (image_without_class, "'1.png' is in no class folder; move it into one"),
        (no_train, "has val/ but no train/; rename the training folder to train"),
        (no_images, "has no class folders; put images into <class>/"),
    ],
)
def test_layouts_that_are_wrong(tmp_path: Path, spoil, message: str):
    root = layouts.image_folder(tmp_path / "x", "train", "val")
    spoil(root)
    with pytest.raises(UserError) as error:
        load(root)
    assert message in str(error.value)

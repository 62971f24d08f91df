"""Small datasets on disk, laid out as the real ones."""

import io
import tarfile
import zipfile
from pathlib import Path

from tests.pictures import encoded, noise, put

WORDS = (
    "n02124075\tEgyptian cat\n"
    "n03126707\tcrane\n"
    "n02012849\tcrane, wading bird\n"
    "n99999999\tsomething else\n"
)


def tiny_imagenet(root: Path) -> Path:
    """Three classes, 4 training and 2 validation images of each, 5 test images."""
    wnids = ["n02124075", "n03126707", "n02012849"]
    root.mkdir(parents=True, exist_ok=True)
    (root / "wnids.txt").write_text("\n".join(wnids))
    (root / "words.txt").write_text(WORDS)
    for wnid in wnids:
        for i in range(4):
            put(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", seed=i)
        rows = "".join(f"{wnid}_{i}.JPEG\t{i}\t1\t9\t8\n" for i in range(4))
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(rows)
    for i in range(6):
        put(root / "val" / "images" / f"val_{i}.JPEG", seed=i)
    rows = "".join(f"val_{i}.JPEG\t{wnids[i % 3]}\t0\t{i}\t7\t8\n" for i in range(6))
    (root / "val" / "val_annotations.txt").write_text(rows)
    for i in range(5):
        put(root / "test" / "images" / f"test_{i}.JPEG", seed=i)
    return root


def flower_photos(root: Path, photographs: int = 4) -> Path:
    """`photographs` of each of five flowers; each photographer has two, of different flowers."""
    credits = []
    for label, name in enumerate(("daisy", "dandelion", "roses", "sunflowers", "tulips")):
        for i in range(photographs):
            put(root / name / f"{label}{i}_x_m.jpg", seed=10 * label + i)
            author = f"{(label * photographs + i + 2) // 4 * 2 + i % 2}@N00"
            url = f"https://www.flickr.com/photos/{author}/"
            # The archive has two forms of its lines.
            credit = f"{url} - by A  B" if i == 3 else f"by A - B - {url}{label}{i}/"
            credits.append(f"{name}/{label}{i}_x_m.jpg CC-BY {credit}\n")
    text = "\nhttps://example.org\n\nAll images in this archive are licensed\n\n" + "".join(credits)
    (root / "LICENSE.txt").write_text(text)
    return root


def image_folder(root: Path, *splits: str, images: int = 5) -> Path:
    """`root/<split>/<class>/<i>.png` for `splits`, or `root/<class>/<i>.png`; three classes."""
    for split in splits or ("",):
        for name in ("Hund", "Katze", "Kuh"):
            for i in range(images):
                put(root / split / name / f"{i}.png", seed=i)
    return root


def table(root: Path, images: int = 5) -> Path:
    """root/labels.csv and the images of three classes that it names."""
    lines = ["file,class"]
    for name in ("Hund", "Katze", "Kuh"):
        for i in range(images):
            put(root / "images" / f"{name} {i}.png", seed=i)
            lines.append(f"images/{name} {i}.png,{name}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root / "labels.csv"


def tars(root: Path, *splits: str, images: int = 5) -> Path:
    """root/<split>-0000.tar and -0001.tar for `splits`, each of `images` of three classes."""
    root.mkdir(parents=True, exist_ok=True)
    for split in splits or ("shard",):
        for number in range(2):
            files = [
                file
                for i in range(3 * images)
                for file in (
                    (f"{i:06}.png", encoded(noise(seed=i))),
                    (f"{i:06}.cls", b"%d\n" % (i % 3)),
                )
            ]
            tar(root / f"{split}-{number:04}.tar", *files)
    return root


def tar(path: Path, *files: tuple[str, bytes]) -> Path:
    """An uncompressed archive of files in their order."""
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def tarred(folder: Path, path: Path, prefix: str = "") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.rglob("*")):
            archive.add(file, prefix + file.relative_to(folder).as_posix(), recursive=False)
    return path

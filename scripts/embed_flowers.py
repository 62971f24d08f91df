"""Makes the embedded flowers: 500 photographs, small enough to be part of the package.

    uv run python -m scripts.embed_flowers flower_photos-500.zip

The archive holds 500 photographs of TensorFlow's `flower_photos` as Flickr served them, with
ATTRIBUTION.tsv and LICENSE.txt. Each photograph is turned as its EXIF orientation says, converted
to sRGB if it has a color profile, scaled down to a short side of 300 px, and encoded again without
metadata. The same libraries write the same bytes in every run.
"""

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

from headstart.core.atomic_files import write_text
from headstart.core.file_digests import file_sha256
from headstart.core.flower_photographs import ARCHIVE, IMAGE_SUFFIX
from headstart.core.thread_map import thread_map

SOURCE_SHA256 = "e78172457bedf78c88b94b96f015b0117145f40ecbe31655ef02ccddd477c6bc"
FOLDER = "flower_photos/"
TEXTS = ("ATTRIBUTION.tsv", "LICENSE.txt")
SHORT_SIDE = 300
FORMAT, QUALITY = "WEBP", 60
"""By `benchmarks.flower_quality`: no accuracy that can be measured is lost, and few bytes used."""
CHANGES = (
    "\nOf this archive's photographs, the 500 that are listed above were chosen, converted to sRGB,"
    f" scaled down to a short side of {SHORT_SIDE} px and encoded again as {FORMAT} without their "
    "metadata. Nothing else was changed.\n"
)
"""What the license asks to be said."""


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("source", type=Path, help="the .zip of the 500 photographs")
    arguments.add_argument("--out", type=Path, default=ARCHIVE, help="the .zip to write")
    args = arguments.parse_args()
    photographs, texts = read_source(args.source)
    texts["LICENSE.txt"] = license_of(photographs, texts["LICENSE.txt"])
    files = thread_map(lambda d: encode(to_small_srgb(d)), list(photographs.values()), "encoding")
    images = {
        f"{name.removesuffix('.jpg')}{IMAGE_SUFFIX}": file
        for name, file in zip(photographs, files, strict=True)
    }
    write_zip(args.out, images, texts)
    for name, text in texts.items():
        write_text(args.out.with_name(name), text)
    print(f"{len(images)} photographs, {args.out.stat().st_size / 1e6:.2f} MB: {args.out}")


def read_source(path: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Returns the photographs and the texts of the source archive, by their names."""
    if (digest := file_sha256(path)) != SOURCE_SHA256:
        raise SystemExit(f"{path} has sha256 {digest}, not {SOURCE_SHA256}")
    with zipfile.ZipFile(path) as archive:
        content = {
            name.removeprefix(FOLDER): archive.read(name) for name in sorted(archive.namelist())
        }
    texts = {name: content.pop(name).decode() for name in TEXTS}
    return content, texts


def license_of(names: dict[str, bytes], text: str) -> str:
    """Returns the archive's license with the photographers of `names` alone, and the changes."""

    def kept(lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            name = line.split(" ")[0]
            if not name.endswith(".jpg") or name in names:
                yield line

    return "".join(kept(iter(text.lstrip().splitlines(keepends=True)))) + CHANGES


def to_small_srgb(data: bytes, short_side: int = SHORT_SIDE) -> Image.Image:
    """Returns an encoded photograph upright, in sRGB, with its short side at most `short_side`."""
    with Image.open(io.BytesIO(data)) as opened:
        image = ImageOps.exif_transpose(to_srgb(opened))
    scale = short_side / min(image.size)
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image


def to_srgb(image: Image.Image) -> Image.Image:
    """Returns an RGB image in sRGB; one without a color profile is taken to be in sRGB already."""
    if not (profile := image.info.get("icc_profile")):
        return image
    converted = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    )
    assert converted is not None
    return converted


def encode(image: Image.Image, format: str = FORMAT, quality: int = QUALITY) -> bytes:
    """Returns an image as a WebP or JPEG file without metadata."""
    plain = Image.new("RGB", image.size)
    plain.paste(image)
    file = io.BytesIO()
    options = {"method": 6} if format == "WEBP" else {"optimize": True, "progressive": True}
    plain.save(file, format, quality=quality, **options)
    return file.getvalue()


def write_zip(path: Path, images: dict[str, bytes], texts: dict[str, str]) -> None:
    """Writes a .zip without dates, so that the same content is the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            member = zipfile.ZipInfo(FOLDER + name)
            archive.writestr(member, text, zipfile.ZIP_DEFLATED, compresslevel=9)
        for name, data in images.items():
            archive.writestr(zipfile.ZipInfo(FOLDER + name), data, zipfile.ZIP_STORED)


if __name__ == "__main__":
    main()

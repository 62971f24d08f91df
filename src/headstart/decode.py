"""One image file's bytes to pixels, or a plain reason why not; never a substitute or a guess."""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""What Pillow may open; its rarer decoders are the less tested ones."""


def set_up_pillow() -> None:
    """For a whole process, because Pillow and Python have these settings for all threads at once:
    what decodes many images calls it before.

    Each call of `decode` brings its own limit on pixels, and Pillow's fixed one would forbid a
    larger choice. Pillow warns of metadata that it can't read, and nothing here reads metadata but
    the orientation.
    """
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL\.")


# What Pillow's decoders raise on damaged files; tests/test_decode.py mutates valid ones.
_DECODER_ERRORS = (
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)


class BadImage(Exception):  # noqa: N818 — it is the image that is bad, not the program
    """An image that can't be read correctly; the message is the reason, the name is left out."""


def decode(data: bytes, max_pixels: int) -> np.ndarray:
    """The image in `data` as [H, W, 3] uint8 RGB, upright.

    The first frame of an animation; the EXIF orientation applied; gray replicated into three
    channels; 16 bits scaled to 8; transparent pixels on white; CMYK by Pillow's plain formula,
    without colour profiles.

    Raises:
        BadImage: `data` is empty, no image, truncated or damaged, or has more than `max_pixels`
            (read from the header, before any pixel is decoded).
    """
    if not data:
        raise BadImage("the file is empty")
    try:
        _check_header(data, max_pixels)
        # Checksums first: the PNG decoder itself passes over them.
        Image.open(io.BytesIO(data), formats=FORMATS).verify()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            if image.mode.startswith("I") or image.mode == "F":
                _check_depth(image)
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except Image.UnidentifiedImageError:
        raise BadImage(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except _DECODER_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(f"damaged: {reason}") from None


def _check_header(data: bytes, max_pixels: int) -> None:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
    if width < 1 or height < 1:
        raise BadImage(f"{width} x {height} pixels")
    if width * height > max_pixels:
        raise BadImage(f"{width} x {height} pixels, more than prepare.max_pixels ({max_pixels})")


def _check_depth(image: ImageFile.ImageFile) -> None:
    """16 bits a pixel have an agreed white, 65535; deeper ones and some TIFFs' don't."""
    if isinstance(image, TiffImageFile):
        tags = image.tag_v2
        agreed = (tags.get(BITSPERSAMPLE), tags.get(PHOTOMETRIC_INTERPRETATION)) == ((16,), 1)
    else:
        # Pillow scales a PGM's levels to its white; a PFM, also "PPM" to it, holds floats.
        agreed = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    if not agreed:
        raise BadImage(f"gray of mode {image.mode} has no agreed white; save it with 8 or 16 bits")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Gray of 16 bits a pixel to 8, scaled so that 65535 becomes 255."""
    values = np.asarray(image)
    if "transparency" in image.info:
        values = np.where(values == image.info["transparency"], 65535, values)
    return Image.fromarray(np.round(values / 257).astype(np.uint8))

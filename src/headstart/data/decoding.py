"""One image file's bytes to pixels, or a plain reason why not; never a substitute or a guess."""

import io
import struct
import warnings
import zlib

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""What Pillow may open; its rarer decoders are the less tested ones."""


MAX_PIXELS = 100_000_000
"""Of an image, where nothing else is said: one with more is taken for an attack or a mistake."""


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


class UnreadableImageError(Exception):
    """An image that can't be read correctly; the message is the reason, the name is left out."""


def decode(data: bytes, max_pixels: int) -> np.ndarray:
    """The image in `data` as [H, W, 3] uint8 RGB, upright.

    The first frame of an animation; the EXIF orientation applied; gray replicated into three
    channels; 16 bits scaled to 8; transparent pixels on white; CMYK by Pillow's plain formula,
    without color profiles.

    A JPEG has no checksums: damage that leaves it a valid stream of codes can't be known.

    Raises:
        BadImage: `data` is empty, no image, truncated or damaged, or has more than `max_pixels`
            (read from the header, before any pixel is decoded).
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, max_pixels)
            if isinstance(image, JpegImageFile):
                return _jpeg(data, image)
            # Checksums first: the PNG decoder itself passes over them.
            image.verify()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _pixels(image)
    except Image.UnidentifiedImageError:
        raise UnreadableImageError(
            f"not an image of a known format ({', '.join(FORMATS)})"
        ) from None
    except _DECODER_ERRORS as error:
        raise _damaged(error) from None


def convert(image: Image.Image) -> np.ndarray:
    """An image that Pillow has opened or made, as `decode` gives it: [H, W, 3] uint8.

    Raises:
        UnreadableImageError: its file is damaged, or its gray levels have no agreed white.
    """
    try:
        return _pixels(image)
    except _DECODER_ERRORS as error:
        raise _damaged(error) from None


def _pixels(image: Image.Image) -> np.ndarray:
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        _check_depth(image)
    return np.array(_to_rgb(ImageOps.exif_transpose(image)))


def _damaged(error: Exception) -> UnreadableImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableImageError(f"damaged: {reason}")


def _check_size(image: ImageFile.ImageFile, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise UnreadableImageError(f"{width} x {height} pixels")
    if width * height > max_pixels:
        raise UnreadableImageError(
            f"{width} x {height} pixels, more than max_pixels ({max_pixels})"
        )


def _jpeg(data: bytes, image: JpegImageFile) -> np.ndarray:
    """The JPEG in `data`, whose header `image` has read, as `decode` gives it.

    libjpeg paints over what it can't decode and warns; Pillow is silent about that, and simplejpeg,
    which gives the same pixels, makes it an error.
    """
    try:
        pixels = _strictly(data, image)
    except ValueError as error:
        if "subsampling" in str(error):  # a rare one, which only Pillow decodes
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
        pixels = _strictly(_without_metadata(data), image)
    if image.mode == "CMYK":
        return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation == 1:
        return pixels
    stored = Image.fromarray(pixels)
    stored.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(stored))


def _strictly(data: bytes, image: JpegImageFile) -> np.ndarray:
    """[H, W, 3] RGB, or [H, W, 4] as stored if `image` is CMYK; raises ValueError if damaged."""
    channels = "CMYK" if image.mode == "CMYK" else "RGB"
    # Of the size that was checked: two parsers may understand one header differently.
    checked = np.empty((image.height, image.width, len(channels)), np.uint8)
    pixels = simplejpeg.decode_jpeg(data, channels, buffer=checked, strict=True)
    if pixels.shape != checked.shape:
        raise ValueError("two image sizes")
    return pixels


def _without_metadata(data: bytes) -> bytes:
    """A JPEG without what cameras and editors write into it, and with a valid version of JFIF.

    libjpeg warns of faults there too, which no pixel depends on. APP0 (JFIF) and APP14 (Adobe)
    stay: they say which colors are meant.
    """
    kept, start = [data[:2]], 2
    while data[start : start + 1] == b"\xff" and data[start + 1 : start + 2] != b"\xda":
        kind = data[start + 1]
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        segment = data[start:end]
        if segment[4:9] == b"JFIF\0":
            segment = segment[:9] + b"\1\1" + segment[11:]
        if kind in (0xE0, 0xEE) or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            kept.append(segment)
        start = end
    return b"".join([*kept, data[start:]])


def _check_depth(image: Image.Image) -> None:
    """16 bits a pixel have an agreed white, 65535; deeper ones and some TIFFs' don't."""
    if isinstance(image, TiffImageFile):
        tags = image.tag_v2
        agreed = (tags.get(BITSPERSAMPLE), tags.get(PHOTOMETRIC_INTERPRETATION)) == ((16,), 1)
    else:
        # Pillow scales a PGM's levels to its white; a PFM, also "PPM" to it, holds floats.
        agreed = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    if not agreed:
        raise UnreadableImageError(
            f"gray of mode {image.mode} has no agreed white; save it with 8 or 16 bits"
        )


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

"""Decoding of image files to pixels; a damaged file is an error with a reason, never a guess."""

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
"""The formats that Pillow may open; its decoders of rarer formats are tested less."""


MAX_PIXELS = 100_000_000
"""Of an image, where nothing else is said: one with more is taken for an attack or a mistake."""


def set_up_pillow() -> None:
    """Turns off Pillow's own limit on pixels and its warnings, for the whole process.

    Call it before images are decoded: the settings are global, so `decode` can't change them per
    thread. Each call of `decode` has its own limit on pixels, which may be larger than Pillow's.
    The warnings are about metadata, of which only the orientation is read.
    """
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL\.")


# What Pillow's decoders raise on damaged files; tests/data/test_decoding.py damages valid ones.
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
    """An image can't be read correctly; the message is the reason, without the image's name."""


def decode(data: bytes, max_pixels: int) -> np.ndarray:
    """Decodes an image file to [H, W, 3] uint8 RGB pixels.

    Of an animation the first frame is read. The EXIF orientation is applied, gray is replicated
    into three channels, 16 bits are scaled to 8, transparent pixels are composited on white, and
    CMYK is converted by Pillow's plain formula, without color profiles.

    A JPEG has no checksums: damage that leaves a valid stream of codes can't be detected.

    data: the file's bytes. max_pixels: the limit on H * W.

    Raises:
        UnreadableImageError: `data` is empty, no image, truncated or damaged, or has more than
            `max_pixels` (read from the header, before any pixel is decoded).
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, max_pixels)
            if isinstance(image, JpegImageFile):
                return _decode_jpeg(data, image)
            # Verify the checksums first: the PNG decoder itself ignores them.
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


def _decode_jpeg(data: bytes, image: JpegImageFile) -> np.ndarray:
    """Decodes the JPEG in `data`, whose header `image` has read.

    libjpeg fills in what it can't decode, and warns. Pillow ignores the warning; simplejpeg, which
    gives the same pixels, raises it as an error.
    """
    try:
        pixels = _decode_strictly(data, image)
    except ValueError as error:
        if "subsampling" in str(error):  # a rare one, which only Pillow decodes
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
        pixels = _decode_strictly(_without_metadata(data), image)
    if image.mode == "CMYK":
        return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation == 1:
        return pixels
    stored = Image.fromarray(pixels)
    stored.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(stored))


def _decode_strictly(data: bytes, image: JpegImageFile) -> np.ndarray:
    """Returns [H, W, 3] RGB, or [H, W, 4] if `image` is CMYK; raises ValueError if damaged."""
    channels = "CMYK" if image.mode == "CMYK" else "RGB"
    # Of the size that was checked: two parsers may read one header differently.
    buffer = np.empty((image.height, image.width, len(channels)), np.uint8)
    pixels = simplejpeg.decode_jpeg(data, channels, buffer=buffer, strict=True)
    if pixels.shape != buffer.shape:
        raise ValueError("two image sizes")
    return pixels


def _without_metadata(data: bytes) -> bytes:
    """Removes the metadata of a JPEG and sets a valid version of JFIF.

    libjpeg also warns of faults in metadata, which don't affect pixels. APP0 (JFIF) and APP14
    (Adobe) are kept, because they define the color space.
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
    """Raises UnreadableImageError unless white is defined, as 65535 is for most 16-bit images."""
    if isinstance(image, TiffImageFile):
        tags = image.tag_v2
        white_is_defined = (tags.get(BITSPERSAMPLE), tags.get(PHOTOMETRIC_INTERPRETATION)) == (
            (16,),
            1,
        )
    else:
        # Pillow scales the levels of a PGM to its white; a PFM, which it also calls PPM, holds
        # floats.
        white_is_defined = image.mode.startswith("I;16") or (
            image.mode == "I" and image.format == "PPM"
        )
    if not white_is_defined:
        raise UnreadableImageError(
            f"white is not defined for gray of mode {image.mode}; save it with 8 or 16 bits"
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
    """Scales gray of 16 bits per pixel to 8, so that 65535 becomes 255."""
    values = np.asarray(image)
    if "transparency" in image.info:
        values = np.where(values == image.info["transparency"], 65535, values)
    return Image.fromarray(np.round(values / 257).astype(np.uint8))

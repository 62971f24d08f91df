import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from headstart.data.decoding import UnreadableImageError, decode, set_up_pillow
from tests.pictures import encoded, noise

MAX_PIXELS = 10_000
RGB = noise()
SMOOTH = np.dstack([*np.meshgrid(np.arange(40) * 6, np.arange(30) * 8), np.full((30, 40), 99)])
SMOOTH = SMOOTH.astype(np.uint8)
VALID = {
    "jpeg": encoded(SMOOTH, "JPEG", quality=90),
    "progressive": encoded(SMOOTH, "JPEG", progressive=True),
    "cmyk": encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG"),
    "png": encoded(RGB),
    "gif": encoded(Image.fromarray(RGB).quantize(), "GIF"),
    "bmp": encoded(RGB, "BMP"),
    "tiff": encoded(RGB, "TIFF"),
    "tiff deflate": encoded(RGB, "TIFF", compression="tiff_deflate"),
    "webp": encoded(RGB, "WEBP", lossless=True),
    "ppm": encoded(RGB, "PPM"),
}
# Of metadata; decode silences them, but each test begins with filters of its own.
PILLOW_WARNS = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")


@pytest.fixture(autouse=True)
def pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    set_up_pillow()


# What turns the upright image into the one that is stored with each EXIF orientation.
STORED_AS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("name", ["png", "bmp", "tiff", "tiff deflate", "webp", "ppm"])
def test_lossless_formats_give_the_pixels(name):
    np.testing.assert_array_equal(decode(VALID[name], MAX_PIXELS), RGB)


@pytest.mark.parametrize("name", ["jpeg", "progressive", "cmyk"])
def test_lossy_formats_come_close(name):
    error = decode(VALID[name], MAX_PIXELS).astype(int) - SMOOTH
    assert np.abs(error).mean() < 3


def test_gray_is_replicated():
    gray = RGB[..., 0]
    for data in (encoded(gray), encoded(gray, "TIFF"), encoded(gray, "PPM")):
        np.testing.assert_array_equal(decode(data, MAX_PIXELS), np.dstack([gray] * 3))


def test_one_bit():
    bits = Image.fromarray(RGB[..., 0] > 127)
    expected = np.dstack([(RGB[..., 0] > 127) * np.uint8(255)] * 3)
    np.testing.assert_array_equal(decode(encoded(bits), MAX_PIXELS), expected)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_gray_is_scaled_and_not_clipped(format):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    pixels = decode(encoded(Image.fromarray(levels * 257), format), MAX_PIXELS)
    np.testing.assert_array_equal(pixels, np.dstack([levels] * 3))


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG written by hand, for what Pillow doesn't write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_sixteen_bit_color_is_scaled_and_not_clipped():
    levels = np.arange(0, 256, 5, dtype=np.uint16)[:51].reshape(17, 3)
    data = png(17, 1, 16, 2, b"\0" + (levels * 257).astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(data, MAX_PIXELS), levels[None])


def test_gray_without_an_agreed_white_is_bad():
    for mode in ("F", "I"):
        data = encoded(Image.new(mode, (4, 4)), "TIFF")
        with pytest.raises(
            UnreadableImageError,
            match=r"white is not defined .*; save it with 8 or 16 bits",
        ):
            decode(data, MAX_PIXELS)


def test_floats_are_bad_also_where_they_are_called_ppm():
    rows = np.linspace(0, 1, 12, dtype="<f4").tobytes()
    with pytest.raises(UnreadableImageError, match="white is not defined for gray of mode F"):
        decode(b"Pf\n4 3\n-1.0\n" + rows, MAX_PIXELS)


def test_transparency_shows_white():
    alpha = np.zeros((*RGB.shape[:2], 1), np.uint8)
    alpha[:, :6] = 255
    expected = np.where(alpha > 0, RGB, 255)
    np.testing.assert_array_equal(decode(encoded(np.dstack([RGB, alpha])), MAX_PIXELS), expected)
    gray = Image.fromarray(np.dstack([RGB[..., 0], alpha[..., 0]]), "LA")
    np.testing.assert_array_equal(
        decode(encoded(gray), MAX_PIXELS), np.where(alpha > 0, RGB[..., :1], 255).repeat(3, 2)
    )


def test_half_transparent_is_mixed_with_white():
    data = encoded(Image.new("RGBA", (2, 2), (100, 0, 200, 128)))
    np.testing.assert_allclose(decode(data, MAX_PIXELS)[0, 0], [177, 127, 227], atol=1)


def test_palette():
    palette = Image.fromarray(RGB).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decode(encoded(palette), MAX_PIXELS), expected)
    index = int(np.asarray(palette)[0, 0])
    transparent = encoded(palette, transparency=index)
    hidden = (np.asarray(palette) == index)[..., None]
    np.testing.assert_array_equal(decode(transparent, MAX_PIXELS), np.where(hidden, 255, expected))


def test_transparent_color_and_gray_level_without_alpha_channel():
    image = Image.fromarray(RGB)
    shown = decode(encoded(image, transparency=tuple(map(int, RGB[0, 0]))), MAX_PIXELS)
    assert (shown[0, 0] == 255).all()
    np.testing.assert_array_equal(shown[1:], RGB[1:])
    deep = Image.fromarray(np.array([[1000, 65535, 257]], np.uint16))
    shown = decode(encoded(deep, transparency=1000), MAX_PIXELS)
    np.testing.assert_array_equal(shown[0, :, 0], [255, 255, 1])


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(format):
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert (decode(data, MAX_PIXELS) == [255, 0, 0]).all()


def test_a_camera_file_of_several_pictures_gives_the_first():
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    shown = decode(encoded(first, "MPO", save_all=True, append_images=[second]), MAX_PIXELS)
    assert np.abs(shown.astype(int) - [255, 0, 0]).max() < 5


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_exif_orientation_is_applied(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = SMOOTH if format == "JPEG" else RGB
    options = {"lossless": True} if format == "WEBP" else {}
    stored = np.ascontiguousarray(STORED_AS[orientation](upright))
    shown = decode(encoded(stored, format, exif=exif, **options), MAX_PIXELS)
    assert shown.shape == upright.shape
    assert np.abs(shown.astype(int) - upright).mean() < (3 if format == "JPEG" else 1e-9)


def test_more_pixels_than_allowed_is_known_from_the_header():
    for data in (png(60_000, 60_000, 8, 2, b""), b"P6 60000 60000 255\n", VALID["webp"]):
        with pytest.raises(UnreadableImageError, match=r"pixels, more than max_pixels"):
            decode(data, max_pixels=107)
    assert decode(VALID["webp"], max_pixels=108).shape == (9, 12, 3)


def test_our_own_limit_replaces_pillows():
    data = png(20_000, 10_000, 1, 0, b"")  # Pillow refuses 178,956,970 pixels and more
    with pytest.raises(UnreadableImageError, match=r"^damaged: (?!.*bomb)"):
        decode(data, max_pixels=200_000_000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\0" * 1000, "not an image of a known format"),
        (b"<html>404</html>", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
        (VALID["jpeg"][:-200], "damaged: Premature end of JPEG file"),
        (VALID["png"][:-60], "damaged"),
    ],
    ids=["empty", "zeros", "html", "postscript", "cut jpeg", "cut png"],
)
def test_bad_images_say_why(data, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode(data, MAX_PIXELS)


PHOTO = np.kron(noise(40, 30), np.ones((8, 8, 1), np.uint8))[:-3, :-5]  # no whole blocks
JPEGS = {
    **{f"subsampling {n}": encoded(PHOTO, "JPEG", subsampling=n) for n in range(3)},
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "restart markers": encoded(PHOTO, "JPEG", restart_marker_blocks=7),
    "gray": encoded(PHOTO[..., 0], "JPEG"),
    "gray, progressive": encoded(PHOTO[..., 0], "JPEG", progressive=True),
    "stored as RGB": encoded(PHOTO, "JPEG", keep_rgb=True),
    "CMYK": encoded(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    "one pixel": encoded(PHOTO[:1, :1], "JPEG"),
}


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def coded(data: bytes | bytearray) -> int:
    """Where the coded pixels of a JPEG's first scan begin."""
    scan = data.index(b"\xff\xda")
    return scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])


@pytest.mark.parametrize("name", JPEGS)
def test_a_sound_jpeg_gives_pillows_pixels(name):
    np.testing.assert_array_equal(decode(JPEGS[name], 10**6), by_pillow(JPEGS[name]))


def test_a_jpeg_of_a_subsampling_that_only_pillow_decodes():
    data = bytearray(encoded(Image.new("RGB", (8, 8), (128, 128, 128)), "JPEG", subsampling=0))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 8, 24)
    data[frame + 11] = 0x31  # Y has three blocks where Cb and Cr have one; all of them are zero
    blocks = 3 * "001010" + 2 * "0000"
    data[coded(data) :] = int(blocks + "111111", 2).to_bytes(4) + b"\xff\xd9"
    np.testing.assert_array_equal(decode(bytes(data), 10**6), np.full((8, 24, 3), 128))


@pytest.mark.parametrize("name", [name for name in JPEGS if name != "one pixel"])
def test_half_a_jpeg_that_ends_as_a_whole_one_is_damaged(name):
    data = JPEGS[name]
    with pytest.raises(UnreadableImageError, match=r"^damaged: Corrupt JPEG data"):
        decode(data[: (coded(data) + len(data)) // 2] + b"\xff\xd9", 10**6)


@pytest.mark.parametrize("name", ["subsampling 0", "subsampling 2", "gray", "CMYK"])
def test_most_jpegs_with_overwritten_bytes_are_found(name):
    """All can't be: overwritten codes may be valid ones, as many."""
    random = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        data = np.frombuffer(JPEGS[name], np.uint8).copy()
        places = random.integers(coded(JPEGS[name]), len(data) - 2, 8)
        data[places] = random.integers(256, size=8)
        try:
            decode(data.tobytes(), 10**6)
        except UnreadableImageError:
            found += 1
    assert found >= 75


def segment(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "oddity",
    [
        lambda data: data + b"\0" * 99,
        lambda data: data + b"appended by a camera \xff\xd8\xff",
        lambda data: data[:-2] + b"\xff" * 9 + data[-2:],
        lambda data: data[:2] + segment(0xE5, b"anything") + segment(0xFE, b"comment") + data[2:],
        lambda data: data.replace(b"JFIF\0\1\1", b"JFIF\0\0\0"),
        lambda data: data[:20] + segment(0xE2, b"ICC_PROFILE\0\5\1cut") + data[20:],
        lambda data: data[:20] + segment(0xE1, b"Exif\0\0nonsense") + data[20:],
    ],
    ids=["zeros", "a tail", "fill", "segments", "JFIF's version", "a bad ICC profile", "bad EXIF"],
)
def test_what_no_pixel_of_a_jpeg_depends_on_may_be_odd(oddity):
    data = JPEGS["subsampling 2"]
    np.testing.assert_array_equal(decode(oddity(data), 10**6), by_pillow(data))
    bad = oddity(data)
    half = (coded(bad) + len(bad)) // 2
    with pytest.raises(UnreadableImageError):
        decode(bad[:half] + b"\xff\xd9", 10**6)


def test_a_flipped_bit_in_a_png_is_found():
    data = bytearray(VALID["png"])
    data[data.index(b"IDAT") + 40] ^= 1
    with pytest.raises(UnreadableImageError, match="damaged"):
        decode(bytes(data), MAX_PIXELS)


@PILLOW_WARNS
@pytest.mark.parametrize("name", VALID)
def test_no_beginning_of_a_file_gives_other_pixels(name):
    whole = decode(VALID[name], MAX_PIXELS)
    for length in range(0, len(VALID[name]), max(1, len(VALID[name]) // 150)):
        try:
            part = decode(VALID[name][:length], MAX_PIXELS)
        except UnreadableImageError:
            continue
        np.testing.assert_array_equal(part, whole)


@PILLOW_WARNS
@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(VALID)),
    changes=st.lists(
        st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4)), max_size=4
    ),
    tail=st.binary(max_size=8),
)
def test_damaged_files_give_an_image_or_bad_image(name, changes, tail):
    data = bytearray(VALID[name])
    for position, replacement in changes:
        start = position % len(data)
        data[start : start + len(replacement)] = replacement
    try:
        pixels = decode(bytes(data) + tail, MAX_PIXELS)
    except UnreadableImageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


def test_importing_it_leaves_the_process_as_it_is():
    code = (
        "import warnings; from PIL import Image; before = Image.MAX_IMAGE_PIXELS\n"
        "import headstart.data.decoding; assert Image.MAX_IMAGE_PIXELS == before\n"
        "assert 'PIL' not in str(warnings.filters)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pillows_own_limit_is_no_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UnreadableImageError, match="exceeds limit of 20 pixels"):
        decode(VALID["png"], MAX_PIXELS)
    set_up_pillow()
    np.testing.assert_array_equal(decode(VALID["png"], MAX_PIXELS), RGB)

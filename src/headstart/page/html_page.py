"""The page as one HTML file: its style, its scripts, its data and its thumbnails, all inline.

Names of files and classes are in the data alone, never in the HTML; the scripts show them as text.
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from headstart.core.atomic_files import atomic_path
from headstart.page.content import PageContent
from headstart.page.embedding import embed_json

SCRIPTS = (
    "data.js",
    "dom.js",
    "charts.js",
    "gallery.js",
    "attribution.js",
    "image_detail.js",
    "runs.js",
    "feature_map.js",
    "confusions.js",
    "classes.js",
    "mistakes.js",
    "differences.js",
    "curves.js",
    "audit.js",
    "search.js",
    "main.js",
)
"""The page's own scripts, in an order in which each uses only what stands before it."""


def write_page(path: Path, content: PageContent) -> int:
    """Writes the page to `path` and returns its size in bytes; equal contents give equal bytes.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    with atomic_path(path) as unfinished:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            for part in _parts(content):
                file.write(part)
        return unfinished.stat().st_size


def _parts(content: PageContent) -> Iterator[str]:
    library = _asset("vendor/echarts.min.js")
    own = "".join(f"// {name}\n{_asset(name)}\n" for name in SCRIPTS)
    # One function, so that the scripts share names with each other and with nothing else.
    own = f'(() => {{\n"use strict";\n{own}}})();\n'
    filled = {
        # Nothing may be fetched, and no script but these two may run.
        "policy": (
            "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
            f"script-src {_hash(library)} {_hash(own)}"
        ),
        "style": _asset("style.css"),
        "library": library,
        "data": embed_json(content.data),
        "script": own,
    }
    before, after = _asset("page.html").split("{{sheets}}")
    yield re.sub(r"\{\{(\w+)\}\}", lambda match: filled[match[1]], before)
    for number, sheet in enumerate(content.sheets):
        # Last, so that the page appears before the browser has read them.
        base64 = b64encode(sheet).decode()
        yield f'<script type="text/plain" id="sheet-{number}">{base64}</script>\n'
    yield after


def _asset(name: str) -> str:
    return files("headstart.page").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """The script as the page's policy names it."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"

"""Checks of weights files by their SHA-256."""

from pathlib import Path

from headstart.config import Backbone
from headstart.core.errors import UserError
from headstart.core.file_digests import file_sha256


def check_digest(backbone: Backbone) -> None:
    """Compares a weights file with its digest in params.yaml, or beside a bundled file.

    Raises:
        UserError: the digests differ, or a bundled file has none.
    """
    path = backbone.weights_file
    if path is None:
        return
    listed = path.with_suffix(".sha256")
    if backbone.weights == "bundled" and not (
        listed.is_file() and listed.read_text() == digest_line(path)
    ):
        raise UserError(
            f"{path} is not the file that came with the project (its SHA-256 isn't the one in "
            f"{listed.name}); bring both back from git"
        )
    if backbone.sha256 is not None and (digest := file_sha256(path)) != backbone.sha256:
        raise UserError(
            f"{path} has sha256 {digest}, and {backbone.sha256} was asked for: bring back the "
            f"file that was meant, or set sha256 to the new digest to extract with this one"
        )


def digest_line(path: Path) -> str:
    """Returns the content of <stem>.sha256 for a file, as sha256sum writes it."""
    return f"{file_sha256(path)}  {path.name}\n"

"""The commit of the code that is running."""

import subprocess
from collections.abc import Sequence
from pathlib import Path


def last_commit(folder: Path, paths: Sequence[str]) -> tuple[str | None, bool]:
    """Returns the hash of the last commit that changed any of `paths`, and whether they have been
    edited since.

    paths: relative to `folder`. Returns None and False without git, or outside of a repository.
    """

    def git(*arguments: str) -> str:
        command = ["git", *arguments, "--", *paths]
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        commit = git("log", "-1", "--format=%H")
        return commit or None, bool(commit and git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return None, False

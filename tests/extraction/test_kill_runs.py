"""Extractions that are killed at random moments: the script's short form, with real processes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def kill_runs(tmp_path: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "scripts.kill_runs", "--folder", str(tmp_path), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_killed_extractions_resume_to_the_same_bytes(tmp_path: Path) -> None:
    told = kill_runs(tmp_path, "--kills", "8", "--launchers", "process", "shares")
    for launcher in ("process", "shares"):
        assert f"{launcher}: 8 kills in " in told

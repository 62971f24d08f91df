"""Shares of the work on Ray's workers: all are done, whoever dies."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from headstart.core.errors import UserError
from headstart.extraction.ray_workers import check_ray, divide
from headstart.extraction.shares import SINGLE_PROCESS, Share

RUN = """
import os, signal, sys
from pathlib import Path
from headstart.core.errors import UserError
from headstart.extraction.ray_workers import run_shares
from headstart.extraction.shares import Share

folder = Path(sys.argv[1])

def start():
    def work(share):
        died = folder / "died"
        if share.rank == 3 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if share.rank == 5:
            raise UserError("something is wrong; mend it")
        return share.rank
    return work

print(sorted(run_shares(start, [Share(rank, 8) for rank in range(5)], 2, False, "")))
try:
    run_shares(start, [Share(5, 8)], 1, False, "")
except UserError as error:
    print(f"error: {error}")
"""


@pytest.mark.skipif(not find_spec("ray"), reason="the extra `ray` isn't installed")
def test_a_worker_that_dies_costs_no_share_and_an_error_is_told(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )
    # Ray tells of the worker's death there, too.
    told = [line for line in ran.stdout.splitlines() if line.startswith(("[0", "error"))]
    assert told == ["[0, 1, 2, 3, 4]", "error: something is wrong; mend it"]
    assert (tmp_path / "died").exists()


def test_each_shard_is_a_share_and_one_shard_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert divide(SINGLE_PROCESS, 3, 8) == [Share(0, 3), Share(1, 3), Share(2, 3)]
    assert divide(SINGLE_PROCESS, 1, 2) == [Share(rank, 8) for rank in range(8)]
    assert divide(Share(1, 2), 3, 8) == [Share(3, 6), Share(4, 6), Share(5, 6)]
    monkeypatch.setattr("headstart.extraction.ray_workers.find_spec", lambda _: None)
    with pytest.raises(UserError, match="ray isn't installed; run `uv sync --extra ray`"):
        check_ray()

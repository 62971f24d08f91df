"""A stage in two processes: one message, one exit status, and no process left over."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import cases


def start(folder: Path, mode: str) -> subprocess.Popen[str]:
    cases.write_params(folder)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(cases.ROOT / "src"), str(cases.ROOT)]),
    }
    environment.pop("OMP_NUM_THREADS", None)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.in_processes", "--folder", str(folder), "--mode", mode],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def started_processes(folder: Path) -> list[tuple[int, int, str]]:
    """Returns the id, number of threads and mode of each process that has started."""
    reports = [
        (folder / rank).read_text().split(" ", 2) for rank in "01" if (folder / rank).exists()
    ]
    return [(int(process), int(threads), mode) for process, threads, mode in reports]


def test_arguments_arrive_as_they_are_and_the_cores_are_shared(tmp_path: Path) -> None:
    mode = "done; touch 'made by a shell' $(touch that_too)"
    process = start(tmp_path, mode)
    out, error = process.communicate()
    assert process.returncode == 0, error
    assert error == ""
    assert sorted(out.splitlines()) == ["rank 0 is done", "rank 1 is done"]
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert [rest for _, *rest in started_processes(tmp_path)] == [[threads, mode]] * 2
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "data", "params.yaml"}


@pytest.mark.parametrize(
    ("mode", "status", "message"),
    [
        ("fail", 1, "error: something is wrong; mend it\n"),
        ("crash", 3, ""),
        ("die", 1, "error: SIGKILL ended process 1 of 2\n"),
    ],
)
def test_a_failure_is_reported_once_and_ends_all(
    tmp_path: Path, mode: str, status: int, message: str
) -> None:
    process = start(tmp_path, mode)
    assert process.communicate() == ("", message)
    assert process.returncode == status
    assert not any(is_running(process) for process, *_ in started_processes(tmp_path))


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (signal.SIGTERM, 143, ""),
        (signal.SIGINT, 1, "interrupted; run again to go on\n"),
    ],
)
def test_a_signal_to_the_stage_ends_its_processes(
    tmp_path: Path, sent: signal.Signals, status: int, message: str
) -> None:
    process = start(tmp_path, "wait")
    while len(started_processes(tmp_path)) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(sent)
    assert process.communicate() == ("", message)
    assert process.returncode == status
    assert not any(is_running(process) for process, *_ in started_processes(tmp_path))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True

"""Three queued experiments on a tiny project, compared and applied, as README.md has it.

    python -m benchmarks.experiments /tmp/project

It takes two minutes of one core, so it is run by hand and is no test; it stops at the first thing
that is not as it should be.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.test_full_run import dvc, make_project

RATES = (0.1, 0.01, 0.0001)


def git(project: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=project, check=True)


def main(project: Path) -> None:
    project.mkdir(parents=True)
    make_project(project)
    git(project, "init", "-q")
    git(project, "config", "user.email", "nobody@example.org")
    git(project, "config", "user.name", "nobody")
    dvc(project, "repro")
    git(project, "add", "--all")
    git(project, "commit", "-qm", "baseline")

    for rate in RATES:
        change = f"heads.linear.learning_rate={rate}"
        dvc(project, "exp", "run", "--queue", "--name", f"rate-{rate}", "-S", change)
    dvc(project, "queue", "start", "--jobs", "1")
    while "Queued" in (status := dvc(project, "queue", "status")) or "Running" in status:
        time.sleep(2)
    assert status.count("Success") == len(RATES), status

    header = dvc(project, "exp", "show", "--only-changed", "--csv").splitlines()[0]
    print(f"dvc exp show --only-changed: {len(header.split(','))} columns: {header}")
    first, second, _ = (f"rate-{rate}" for rate in RATES)
    differences = json.loads(dvc(project, "metrics", "diff", first, second, "--json"))
    assert "results/metrics/tiny-linear.json" in differences, differences
    plots = json.loads(dvc(project, "plots", "diff", first, second, "--json"))["data"]
    for plot in plots.values():
        assert plot[0]["revisions"] == [first, second], plot
    print(f"dvc plots diff: {', '.join(plots)}")

    dvc(project, "exp", "apply", first)
    status = dvc(project, "status")
    assert "up to date" in status, status
    tuned = json.loads((project / "report" / "metrics.json").read_text())
    assert tuned["nll"] == differences["report/metrics.json"]["nll"]["old"]
    print(f"dvc exp apply {first}: {status.strip()} {tuned}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

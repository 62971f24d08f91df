"""The timing that all benchmarks share: alternating rounds, a table of medians, the machine."""

import platform
from collections.abc import Callable
from statistics import median

import numpy as np
import torch


def alternate(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """The seconds that each contender returns, one entry for each round.

    A round runs each contender once, so that other load on the machine affects all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            seconds[name].append(run())
            print(f"round {number + 1} of {rounds}: {name}: {seconds[name][-1]:.2f} s", flush=True)
    return seconds


def table(seconds: dict[str, list[float]], baseline: str, items: int, unit: str) -> str:
    """A Markdown table with one row per contender: median rate, range, ratio to `baseline`."""
    lines = [f"| | {unit}s/s | range | × {baseline} |", "| --- | ---: | ---: | ---: |"]
    base = median(seconds[baseline])
    for name, spent in seconds.items():
        rates = sorted(items / s for s in spent)
        lines.append(
            f"| {name} | {_rate(items / median(spent))} | {_rate(rates[0])} to {_rate(rates[-1])} "
            f"| {base / median(spent):.2f} |"
        )
    return "\n".join(lines)


def _rate(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"


def machine() -> str:
    """One line that names the GPU or processor, the number of threads, and versions."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return (
        f"{device}, {torch.get_num_threads()} threads; Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}"
    )


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:  # noqa: PTH123
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()

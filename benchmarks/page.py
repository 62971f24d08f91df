"""How fast report/index.html is in Chromium: its first paint, and frames while the mouse hovers.

    uv run python -m benchmarks.page [report/index.html]

The page is opened from its file, without a network and without a GPU. Frames are counted in the
browser's own trace. On a busy machine fewer are drawn: the CPU time of a frame says what a free one
could do.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
SECONDS = 8


def chromium_seconds() -> float:
    """CPU time of all processes of the Chromium that Playwright started, in seconds."""
    listed = subprocess.run(
        ["pgrep", "-f", "playwright_chromiumdev"], capture_output=True, text=True, check=False
    )
    ticks = 0
    for pid in listed.stdout.split():
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_paint(page: Page, url: str) -> None:
    paints, loads = [], []
    for _ in range(5):
        started = time.perf_counter()
        page.goto(url)
        loads.append(time.perf_counter() - started)
        script = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        paints.append(page.evaluate(script) or math.nan)
    print(f"first paint: {statistics.median(paints):.0f} ms, median of {len(paints)}")
    print(f"all loaded: {1000 * statistics.median(loads):.0f} ms")


def measure_hover(browser: Browser, page: Page) -> None:
    frame = page.locator(".map-frame")
    frame.scroll_into_view_if_needed()
    frame.locator("canvas").first.wait_for()
    page.wait_for_timeout(2000)  # until the sheets of thumbnails are prepared
    box = frame.bounding_box()
    assert box is not None
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        categories = ["devtools.timeline", "disabled-by-default-devtools.timeline.frame", "viz"]
        browser.start_tracing(page=page, path=trace, categories=categories)
        cpu, started = chromium_seconds(), time.perf_counter()
        while (passed := time.perf_counter() - started) < SECONDS:
            x = 0.5 + 0.35 * math.cos(2.6 * passed)
            y = 0.5 + 0.35 * math.sin(2 * passed)
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        cpu = chromium_seconds() - cpu
        browser.stop_tracing()
        events = json.loads(trace.read_text())["traceEvents"]
    drawn = sorted(event["ts"] for event in events if event["name"] == "DrawFrame")
    gaps = [(b - a) / 1000 for a, b in pairwise(drawn)]
    moves = [
        event["dur"] / 1000
        for event in events
        if event["name"] == "EventDispatch" and event["args"]["data"]["type"] == "mousemove"
    ]
    print(f"hover: {len(drawn) / passed:.0f} frames/s, median gap {statistics.median(gaps):.0f} ms")
    print(f"CPU time: {1000 * cpu / len(drawn):.0f} ms a frame, of all of Chromium's processes")
    print(f"handler: median {statistics.median(moves):.1f} ms, longest {max(moves):.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, nargs="?", default=Path("report/index.html"))
    path = parser.parse_args().page.resolve()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    print(f"{path.stat().st_size / 1e6:.1f} MB; load of the machine {os.getloadavg()[0]:.0f}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        context = browser.new_context(viewport={"width": 1300, "height": 900})
        context.set_offline(True)
        page = context.new_page()
        measure_paint(page, path.as_uri())
        measure_hover(browser, page)
        browser.close()


if __name__ == "__main__":
    main()

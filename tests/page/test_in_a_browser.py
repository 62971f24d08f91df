"""The page in a real browser, from its file, without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from headstart.store.attributions import Attribution, write_attribution
from headstart.store.top_classes import load_top_classes
from tests.page.made_results import make_page, make_results
from tests.stages.test_report import HOSTILE

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium or google-chrome to open the page with"
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)
CLASSES = [*HOSTILE, *(f"class {i}" for i in range(8))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as monkeypatch:
        name = "{split}/<img src=x onerror=hacked=1>{i}.png"
        make_results(monkeypatch, folder, val=240, names=CLASSES, file_name=name, views=10)
        top = load_top_classes(folder / "results" / "top_classes" / "resnet50-linear.tsv")
        wrong = np.flatnonzero(top.classes[:, 0] != np.array(top.labels))
        maps = np.random.default_rng(0).normal(size=(len(wrong), 2, 3, 4))
        attributions = folder / "data" / "attribution"
        made = Attribution("", [top.ids[i] for i in wrong], maps, crop=0.875)
        write_attribution(attributions / "resnet50-linear.h5", made)
        reason = "a head of kind mlp is not linear"
        write_attribution(attributions / "random-linear.h5", Attribution.none(reason))
        return make_page(monkeypatch, folder)


class Opened:
    """A page with all that its console said, and all that it asked for."""

    def __init__(self, browser: Browser, file: Path, width: int = 1200, dark: bool = False) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        self.context.set_offline(True)
        self.context.set_default_timeout(10_000)
        self.page: Page = self.context.new_page()
        self.console: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._say)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def _say(self, message: ConsoleMessage) -> None:
        self.console.append(message.text)

    def close(self) -> None:
        hacked = self.page.evaluate("window.hacked")
        self.context.close()
        assert self.console == []
        assert hacked is None
        fetched = [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]
        assert fetched == []


@pytest.fixture
def page(browser: Browser, page_file: Path) -> Iterator[Page]:
    opened = Opened(browser, page_file)
    yield opened.page
    opened.close()


def test_the_table_of_runs_is_sorted_by_a_click(page: Page):
    names = page.locator("#runs tbody th")
    assert names.all_inner_texts() == ["resnet50-linear", "random-linear"]
    head = page.locator("#runs thead").get_by_role("button", name="NLL")
    titles = page.locator("#runs thead th").all_inner_texts()
    column = page.locator(f"#runs td:nth-child({1 + titles.index('NLL')})")
    head.click()
    values = [float(text) for text in column.all_inner_texts()]
    assert values == sorted(values, reverse=True)
    head.click()
    values = [float(text) for text in column.all_inner_texts()]
    assert values == sorted(values)
    title = page.locator("#runs .with-bar").first.get_attribute("title") or ""
    assert "on val, n = 240, ten crops, 95 % interval" in title


def test_two_runs_are_picked_and_their_images_listed(page: Page):
    said = page.locator("#differences p").nth(1)
    assert said.inner_text().startswith("resnet50-linear is better than random-linear by ")
    assert "n = 240" in said.inner_text()
    first, second = page.locator("#pair select").all()
    second.select_option(label="resnet50-linear")
    assert page.locator("#differences").get_by_text("Choose two different runs.").is_visible()
    first.select_option(label="random-linear")
    heads = page.locator("#differences h3").all_inner_texts()
    assert heads[0].startswith("Only random-linear is right: ")
    assert heads[1].startswith("Only resnet50-linear is right: ")
    total = int(heads[1].split(": ")[1].split(" ")[0])
    more = page.locator("#differences").get_by_role("button", name="Show").last
    while more.is_visible():
        more.click()
    assert page.locator("#differences .gallery").last.locator("li").count() == total


def test_the_mistakes_are_captioned_the_most_confident_first(page: Page):
    captions = page.locator("#mistakes .caption").all_inner_texts()
    p = [float(caption.replace("\xa0", " ").rpartition("p = ")[2]) for caption in captions]
    assert len(p) == 24
    assert p == sorted(p, reverse=True)
    assert all(", taken for " in caption for caption in captions)
    page.get_by_label("Run shown below").select_option(label="random-linear")
    assert page.locator("#mistakes p").inner_text().startswith("random-linear is wrong about ")


def test_where_a_run_looked_stands_beside_its_mistakes(page: Page):
    page.locator("#mistakes").scroll_into_view_if_needed()
    assert page.locator("#mistakes .looked canvas").count() == 24
    heat = page.locator("#mistakes .heat").first
    box, around = heat.bounding_box(), page.locator("#mistakes .looked").first.bounding_box()
    assert box is not None
    assert around is not None
    assert box["width"] == pytest.approx(0.875 * around["width"], rel=0.02)
    page.locator("#mistakes .tile").first.click()
    assert page.locator("#detail .looked").count() == 2
    page.keyboard.press("Escape")
    page.get_by_label("Run shown below").select_option(label="random-linear")
    said = (
        "Where it looked is not available for random-linear, as a head of kind mlp is not linear."
    )
    assert said in page.locator("#mistakes p").inner_text()
    assert page.locator("#mistakes .looked").count() == 0


def test_what_the_audit_found_stands_side_by_side(page: Page):
    audit = page.locator("#audit")
    assert audit.get_by_text("The audit with the features of resnet50 found 1 pairs").is_visible()
    duplicates, labels, classes = audit.locator("details").all()
    assert duplicates.locator("summary").inner_text() == "1 pairs of near-duplicates"
    first, second = CLASSES[:2]
    tile = duplicates.locator("li")
    assert tile.locator(".thumbnail").count() == 2
    assert tile.inner_text().strip() == f"{first} (val), and {second} (train)"
    assert labels.locator("li").inner_text().strip() == (
        f"{second} (val), perhaps {first}, score 0.90"
    )
    classes.locator("summary").click()
    assert classes.locator("li").inner_text() == f"{first} and {second} (score 0.40)"
    audit.get_by_label("with the features of").select_option(label="random")
    assert audit.locator("details").count() == 3


def test_a_cell_of_the_confusion_matrix_opens_its_images(page: Page):
    page.locator("#confusions .matrix").scroll_into_view_if_needed()
    page.locator("#confusions .matrix canvas").first.wait_for()
    cell = page.evaluate(
        """() => {
          const chart = echarts.getInstanceByDom(document.querySelector(".matrix"));
          const [x, y, count] = chart.getOption().series[1].data[0];
          return [...chart.convertToPixel({gridIndex: 0}, [x, y]), count];
        }"""
    )
    page.locator("#confusions .matrix").click(position={"x": cell[0], "y": cell[1]})
    expect(page.locator("#cell h3")).to_contain_text("taken for")
    assert page.locator("#cell li").count() == cell[2]
    again = page.locator("#confusions .beside table").get_by_role("button", name="→").first
    again.click()
    listed = page.locator("#cell .caption").all_inner_texts()
    true, predicted = again.inner_text().split(" → ")
    assert all(caption.startswith(f"{true}, taken for {predicted}") for caption in listed)


def test_hover_lasso_and_keys_on_the_map(page: Page):
    frame = page.locator(".map-frame")
    frame.scroll_into_view_if_needed()
    frame.locator("canvas").first.wait_for()
    box = frame.bounding_box()
    assert box is not None
    frame.focus()
    page.keyboard.press("ArrowRight")
    card = page.locator("#map .card")
    first = card.inner_text()
    page.keyboard.press("ArrowRight")
    assert card.is_visible()
    thumbnail = card.locator(".thumbnail")
    assert "blob:" in thumbnail.evaluate("element => element.style.backgroundImage")
    page.keyboard.press("Enter")
    assert page.locator("#detail").is_visible()
    page.keyboard.press("Escape")
    assert first

    page.get_by_role("button", name="Lasso").click()
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.05)]
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()
    found = page.locator("#map h3")
    expect(found).to_contain_text("in the lasso")
    assert int(found.inner_text().split(" ")[0]) > 200
    assert page.locator("#map .gallery li").count() == 24
    for coloring in ("predicted class", "right or wrong", "confidence", "split"):
        page.get_by_label("Color by").select_option(label=coloring)
    assert page.locator("#map .legend").inner_text() == "val"


def test_an_image_is_found_by_its_name_and_shown_in_detail(page: Page):
    page.get_by_role("searchbox").fill(">17.png")
    heads = page.locator("#found h2")
    expect(heads).to_contain_text("2 images")  # of val and of train
    page.locator("#found .tile").first.click()
    detail = page.locator("#detail")
    assert detail.locator(".file").inner_text() == "val/<img src=x onerror=hacked=1>17.png"
    assert detail.locator("tbody tr").count() == 2
    assert detail.locator("td.candidate").count() == 10
    shares = detail.locator("tbody tr").first.locator(".number").all_inner_texts()
    assert 0 < sum(float(share.removesuffix(" %")) for share in shares) <= 100.3
    assert "cosine 0.90" in detail.locator(".gallery .caption").first.inner_text()
    page.keyboard.press("ArrowRight")
    assert detail.locator(".file").inner_text().startswith("train/")
    page.keyboard.press("Escape")
    assert not detail.is_visible()


def test_hostile_names_are_shown_as_they_are(page: Page):
    page.locator("#classes").get_by_role("button", name="Show all").or_(
        page.locator("#classes tbody button")
    ).first.click()
    rows = page.locator("#classes tbody th").all_inner_texts()
    assert set(rows) == set(CLASSES)


def test_the_keyboard_reaches_everything(page: Page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.evaluate(
        """() => {
          window.seen = new Set();
          const note = ({target}) => seen.add(target.closest("section")?.id);
          document.addEventListener("focusin", note);
        }"""
    )
    for _ in range(120):
        page.keyboard.press("Tab")
    seen = set(page.evaluate("[...seen]"))
    assert {"runs", "differences", "mistakes", "map", "confusions"} <= seen


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("one run", {"backbones": ["random"]}),
        ("one image", {"val": 1, "backbones": ["random"]}),
        ("a class that is always wrong", {"always_wrong": 1, "test": True}),
        (
            "a thousand classes",
            {"val": 200, "names": [f"class {i}" for i in range(1000)], "backbones": ["random"]},
        ),
    ],
)
def test_unusual_results_are_drawn_too(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, made: dict
):
    make_results(monkeypatch, tmp_path, **made)
    backbones = made.get("backbones", ("random", "resnet50"))
    file = make_page(monkeypatch, tmp_path, backbones=backbones)
    width = 400 if kind == "one run" else 1200
    opened = Opened(browser, file, width=width, dark=kind == "one run")
    for canvas in ("#map .map", "#confusions .matrix", "#curves .chart"):
        opened.page.locator(canvas).first.scroll_into_view_if_needed()
        opened.page.locator(f"{canvas} canvas").first.wait_for()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    worst = opened.page.locator("#classes tbody tr").first.inner_text()
    if kind == "a class that is always wrong":
        assert worst.startswith("sports car")
        assert "0 % [0," in worst
    if kind == "one run":
        assert "only one run" in opened.page.locator("#differences").inner_text()
    if kind == "a thousand classes":
        assert opened.page.get_by_role("button", name="Show all 200").is_visible()
    opened.close()

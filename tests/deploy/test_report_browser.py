"""The report in a real headless Chromium: nothing on the console or the network, all of it usable and readable."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import find_chromium
from PIL import Image

from sqdr.deploy.report import SECTIONS, ReportOptions, write_report
from sqdr.deploy.run import run_bundle

pytest.importorskip("plotly", reason="needs the report extra")
pytest.importorskip("sklearn", reason="needs the digits")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
BROWSER = find_chromium()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium, or set SQDR_CHROMIUM"),
]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
# WCAG 2.1, success criterion 1.4.3.
CONTRAST = 4.5
READY = "html[data-ready]"
CHARTS = ("plot-loss", "plot-accuracy", "raster-0", "plot-rates", "bloch", "plot-z", "plot-logits")

# Contrast of every element with text of its own against the first opaque background behind it; only hidden ones are
# left out. Colours come as rgb(), rgba() or color(srgb ...), which a canvas makes one.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const texts = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
    const words = texts.map((n) => n.data.trim()).join(" ");
    if (!words || element.closest("script, style, noscript, title, .hidden, option")) continue;
    if (!element.getClientRects().length) continue;
    const isDrawn = element instanceof SVGElement;
    const style = getComputedStyle(element);
    const front = rgba(isDrawn ? style.fill : style.color);
    let back = null;
    const box = isDrawn && element.previousElementSibling;
    if (box && box.tagName === "rect" && element.closest(".circuit")) back = rgba(getComputedStyle(box).fill);
    for (let at = element; at && !back; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) back = colour;
    }
    const [a, b] = [luminance(front), luminance(back)].sort((x, y) => y - x);
    const kind = element.className.baseVal ?? element.className;
    found.push([(a + 0.05) / (b + 0.05), `${element.tagName} ${kind}: ${words.slice(0, 40)}`]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def page_path(bundle_path: Path, trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    run_bundle(bundle_path, "digits:test", folder / "out", encoder="integer", device="local:sv", shots=50, seed=0)
    write_report(folder / "out", folder / "report.html", ReportOptions(run=trained_run, n_samples=12))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # a container's root has no sandbox to run Chromium in
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page with what it said and asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(READY, state="attached", timeout=60_000)

    def pixels(self, selector: str) -> np.ndarray:
        return picture(self.page.locator(selector).first.screenshot())

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())


def picture(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("L"), float)


@pytest.fixture
def open_page(browser: Any, page_path: Path) -> Iterator[Any]:
    opened: list[Opened] = []

    def open_one(**options: Any) -> Opened:
        opened.append(Opened(browser, options.pop("path", page_path), **({"viewport": DESKTOP} | options)))
        return opened[-1]

    yield open_one
    for each in opened:
        each.context.close()


def test_every_section_is_drawn_without_console_or_network(open_page: Any) -> None:
    opened = open_page()
    for name in SECTIONS:
        # text alone has a standard deviation of some 20 grey levels; an empty section has less than 1
        assert opened.pixels(f"#{name}").std() > 5, name
    for name in CHARTS:
        assert opened.pixels(f"#{name}").std() > 5, name
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in opened.asked if url.startswith("file:")]) == 1


def state(opened: Opened) -> dict[str, Any]:
    return {
        "raster": opened.page.evaluate("JSON.stringify(document.getElementById('raster-0').data[0].z)"),
        "bloch": opened.page.evaluate(
            "[...document.querySelectorAll('#bloch svg')].map((s) => s.dataset.bloch).join()"
        ),
        "picture": opened.page.locator("#picture").get_attribute("src"),
        "logits": opened.text("#logits"),
        "qubits": opened.text("#qubits"),
    }


def test_arrow_keys_choose_a_sample_and_everything_follows(open_page: Any) -> None:
    opened = open_page()
    first = state(opened)
    opened.page.focus("#sample")
    opened.page.keyboard.press("ArrowDown")
    second = state(opened)
    assert all(first[name] != second[name] for name in first)
    assert opened.text("#said").startswith("Sample 2 of 12")
    opened.page.keyboard.press("ArrowUp")
    assert state(opened) == first


def test_buttons_and_misclassified_images_choose_a_sample(open_page: Any) -> None:
    opened = open_page()
    first = state(opened)
    opened.page.focus("#previous")
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#sample").input_value() == "11"
    opened.page.focus("#next")
    opened.page.keyboard.press("Space")
    assert state(opened) == first
    opened.page.locator("[data-sample='3']").click()
    assert opened.page.locator("#sample").input_value() == "3"
    assert opened.page.evaluate("document.activeElement.id") == "sample"
    assert state(opened)["picture"] == opened.page.locator("[data-sample='3'] img").get_attribute("src")


def test_every_sample_draws_what_its_data_says(open_page: Any) -> None:
    opened = open_page()
    for index in range(12):
        opened.page.select_option("#sample", str(index))
        same = opened.page.evaluate(
            """(index) => {
              const data = JSON.parse(document.getElementById("data").textContent).samples;
              const sample = data.samples[index], last = data.layers.length - 1;
              const z = document.getElementById(`raster-${last}`).data[0].z;
              const counts = z.map((row) => row.reduce((a, b) => a + b, 0));
              return JSON.stringify(counts) === JSON.stringify(sample.counts);
            }""",
            index,
        )
        assert same, f"sample {index}: the last layer's raster is not its counts"


def test_hovering_a_chart_shows_its_value(open_page: Any) -> None:
    opened = open_page()
    opened.page.locator("#plot-logits").scroll_into_view_if_needed()
    box = opened.page.locator("#plot-logits .nsewdrag").bounding_box()
    bar = opened.page.locator("#plot-logits .point path").first.bounding_box()
    opened.page.mouse.move(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2 or box["y"])
    opened.page.wait_for_selector("#plot-logits .hoverlayer .hovertext", timeout=10_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(scheme: str, open_page: Any) -> None:
    opened = open_page(color_scheme=scheme)
    found = opened.page.evaluate(CONTRASTS)
    assert len(found) > 300
    assert [each for each in found if each[0] < CONTRAST] == []
    mean = picture(opened.page.screenshot()).mean()
    assert mean > 200 if scheme == "light" else mean < 60


def test_charts_follow_the_colour_scheme(open_page: Any) -> None:
    opened = open_page(color_scheme="light")
    light = opened.page.evaluate("document.getElementById('plot-z').layout.font.color")
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_function(
        "before => document.getElementById('plot-z').layout.font.color !== before", arg=light, timeout=10_000
    )


@pytest.mark.parametrize("width", [320, 360, 768])
def test_narrow_screens_do_not_scroll_sideways(width: int, open_page: Any) -> None:
    opened = open_page(viewport=PHONE | {"width": width}, has_touch=True)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    for name in CHARTS:
        box = opened.page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width, name


def test_page_prints_to_pdf_in_light_colours(open_page: Any) -> None:
    opened = open_page(color_scheme="dark")
    pdf = opened.page.pdf(format="A4")
    assert pdf.startswith(b"%PDF-")
    n_pages = pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") + pdf.count(b"/Type/Page/")
    assert 3 <= n_pages <= 40
    opened.page.emulate_media(media="print", color_scheme="dark")
    background = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    # what is wider than the paper's 680 pixels would be cut off
    opened.page.set_viewport_size({"width": 680, "height": 900})
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 680


def test_structure_serves_screen_readers(open_page: Any) -> None:
    opened = open_page()
    evaluate = opened.page.evaluate
    assert evaluate("document.documentElement.lang") == "en"
    assert evaluate(
        "['header', 'nav', 'main', 'footer'].map((tag) => document.querySelectorAll('body > ' + tag).length)"
    ) == [
        1,
        1,
        1,
        1,
    ]
    levels = evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert evaluate("[...document.querySelectorAll('th')].filter((th) => !th.scope).length") == 0
    assert evaluate("[...document.querySelectorAll('table')].filter((t) => !t.caption).length") == 0
    assert evaluate("[...document.querySelectorAll('img:not([hidden])')].filter((i) => !i.alt).length") == 0
    assert (
        evaluate("[...document.querySelectorAll('[role=img]')].filter((i) => !i.getAttribute('aria-label')).length")
        == 0
    )
    ids = evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    assert evaluate("[...document.querySelectorAll('select, input')].filter((e) => !e.labels.length).length") == 0


def test_keyboard_reaches_everything_and_shows_where_it_is(open_page: Any) -> None:
    opened = open_page()
    seen = []
    for _ in range(80):
        opened.page.keyboard.press("Tab")
        focus = opened.page.evaluate(
            """() => {
              const e = document.activeElement, style = getComputedStyle(e);
              return [e.id || e.className || e.tagName, style.outlineStyle, parseFloat(style.outlineWidth)];
            }"""
        )
        if focus[0] == "BODY":
            break
        assert focus[1] != "none", focus
        assert focus[2] >= 2, focus
        seen.append(focus[0])
    assert seen[0] == "skip"
    assert {"sample", "previous", "next"} <= set(seen)


def test_incomplete_report_renders_without_errors(trained_run: Path, open_page: Any, tmp_path: Path) -> None:
    write_report(trained_run, tmp_path / "r.html", ReportOptions())
    opened = open_page(path=tmp_path / "r.html")
    assert opened.said == []
    for name in SECTIONS:
        assert opened.pixels(f"#{name}").std() > 3, name
    assert "sqdr export" in opened.text("#samples .missing")


def test_hostile_page_runs_nothing(bundle_path: Path, trained_run: Path, open_page: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_bundle(bundle_path, "digits:test", out, encoder="integer", device="local:sv", limit=20)
    text = (out / "results.jsonl").read_text()
    bad = "</script><img src=x onerror=document.title=1><b>"
    (out / "results.jsonl").write_text(text.replace('"sample_id": "', f'"sample_id": "{bad}'))
    write_report(out, tmp_path / "r.html", ReportOptions(skip=("fit", "budget", "equality"), n_samples=4))
    opened = open_page(path=tmp_path / "r.html")
    title = opened.page.title()
    opened.page.focus("#sample")
    opened.page.keyboard.press("ArrowDown")
    assert bad in opened.text("#said")
    assert opened.page.title() == title
    assert opened.said == []
    # even a script that got in would not run: the page's own policy names the hashes of its two scripts
    opened.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 1";
          document.body.append(script);
        }"""
    )
    assert opened.page.title() == title

"""The HTML report in a real headless Chromium: it draws, says nothing on the console, and fits
phones and desks."""

import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from planner.report.formats.html import html
from planner.report.views import option as option_view

SAMPLE = Path(__file__).parents[1] / "report" / "sample_answer.json"
BROWSER = next(
    filter(
        None,
        map(
            shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        ),
    ),
    None,
)
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--force-device-scale-factor=1",
)
#: What the page is asked once it is laid out; the answer is written into it for ``--dump-dom`` to
#: print.
PROBE = """<script>addEventListener('load', () => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const box = (e) => { const r = e.getBoundingClientRect(); return [r.width, r.height]; };
  const text = (t) => {
    const r = t.getBoundingClientRect();
    return [t.textContent, r.left, r.top, r.right, r.bottom];
  };
  const out = {
    width: document.documentElement.clientWidth,
    scroll: document.documentElement.scrollWidth,
    charts: all('svg.chart').map(box),
    bars: all('svg.chart rect[x]').map(box),
    background: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
    fetched: performance.getEntriesByType('resource').map((e) => e.name),
    texts: all('svg.chart').map((svg) => all('text', svg).map(text)),
  };
  const holder = document.createElement('pre');
  holder.id = 'probe';
  holder.textContent = JSON.stringify(out);
  document.body.append(holder);
});</script>"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        BROWSER is None, reason="NO CHROMIUM: the HTML report was not opened in a browser"
    ),
]


def chromium(folder, *arguments):
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    profile.mkdir()
    return subprocess.run(
        [BROWSER, *QUIET, f"--user-data-dir={profile}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.fixture(scope="module")
def answer():
    return json.loads(SAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def several(answer):
    """The answer with a second device, so that names in the charts are long."""
    copied = json.loads(json.dumps(answer))
    copied["options"][4]["gpu"] = "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"
    return copied


def probe(folder, document, width, dark=False):
    """The page's own measurements; its policy against scripts is lifted for this one script."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html(document)).replace(
        "</body>", PROBE + "</body>"
    )
    inner = folder / "inner.html"
    inner.write_text(page, encoding="utf-8")
    # A headless window is never narrower than 500 pixels: a frame is.
    frame = (
        "<!DOCTYPE html><body style='margin:0'><iframe id=f src='inner.html' "
        f"style='border:0;width:{width}px;height:4000px'></iframe><pre id=out></pre>"
        "<script>document.getElementById('f').addEventListener('load', () => setTimeout(() => "
        "{ document.getElementById('out').textContent = "
        "document.getElementById('f').contentDocument.getElementById('probe').textContent; }, "
        "50));</script>"
    )
    outer = folder / "outer.html"
    outer.write_text(frame, encoding="utf-8")
    scheme = (
        ["--blink-settings=preferredColorScheme=0"]
        if dark
        else ["--blink-settings=preferredColorScheme=1"]
    )
    done = chromium(
        folder,
        *scheme,
        "--allow-file-access-from-files",
        "--window-size=1400,4200",
        "--virtual-time-budget=4000",
        "--dump-dom",
        outer.as_uri(),
    )
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found and found[1], done.stdout[-500:]
    from html import unescape

    return json.loads(unescape(found[1]))


def overlaps(texts):
    """Pairs of a chart's labels that cover each other by more than a pixel."""
    return [
        (a[0], b[0])
        for i, a in enumerate(texts)
        for b in texts[i + 1 :]
        if min(a[3], b[3]) - max(a[1], b[1]) > 1 and min(a[4], b[4]) - max(a[2], b[2]) > 2
    ]


@pytest.mark.parametrize("width", [360, 400, 768, 1200])
@pytest.mark.parametrize("which", ["answer", "several"])
def test_page_fits_and_charts_are_drawn(tmp_path, request, which, width):
    found = probe(tmp_path, request.getfixturevalue(which), width)
    assert found["width"] == width and found["scroll"] <= width, "the page scrolls sideways"
    assert len(found["charts"]) == 3 and all(
        w > 0.8 * width * min(1, 900 / width) and h > 100 for w, h in found["charts"]
    )
    assert found["bars"] and all(w > 0 and h > 0 for w, h in found["bars"])
    assert found["fetched"] == []
    for texts in found["texts"]:
        assert overlaps(texts) == [] and all(
            -1 <= left and right <= width + 1 for _, left, _, right, _ in texts
        )


def test_console_is_silent_and_the_text_is_there(tmp_path, answer):
    page = tmp_path / "budget.html"
    page.write_text(html(answer), encoding="utf-8")
    done = chromium(tmp_path, "--dump-dom", page.as_uri())
    assert "CONSOLE" not in done.stderr
    for option in answer["options"]:
        assert (
            escape(option_view.name(option)) in done.stdout
            and escape(option_view.usd(option)[0]) in done.stdout
        )
    assert answer["recommended"]["why"] in done.stdout


def test_the_screenshot_is_not_blank(tmp_path, answer):
    image = pytest.importorskip("PIL.Image")
    page, shot = tmp_path / "budget.html", tmp_path / "budget.png"
    page.write_text(html(answer), encoding="utf-8")
    chromium(tmp_path, "--window-size=1200,2000", f"--screenshot={shot}", page.as_uri())
    grey = image.open(shot).convert("L")
    histogram = grey.histogram()
    assert grey.size == (1200, 2000) and sum(count > 200 for count in histogram) > 20
    assert sum(histogram[:100]) > 5000, "no ink"


def test_dark_mode_is_dark(tmp_path, answer):
    light, dark = probe(tmp_path, answer, 1200), probe(tmp_path, answer, 1200, dark=True)
    brightness = [
        sum(map(int, re.findall(r"\d+", colour)[:3]))
        for colour in (light["background"], light["ink"], dark["background"], dark["ink"])
    ]
    assert brightness[0] > 600 > 200 > brightness[1] and brightness[2] < 200 < 600 < brightness[3]

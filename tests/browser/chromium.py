"""A headless Chromium of the system, driven by Playwright: quiet, without a network."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

BROWSER = next(
    filter(
        None,
        map(
            shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        ),
    ),
    None,
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
]
HEIGHT = 900


@contextmanager
def browser():
    """Playwright's browser; the tests are skipped without Playwright or a Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="NO PLAYWRIGHT: no page was opened")
    if BROWSER is None:
        pytest.skip("NO CHROMIUM: the HTML report was not opened in a browser")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield opened
        opened.close()


class Visit:
    """A page opened at one width and in one scheme; ``said``: what its console said and what broke;
    ``fetched``: what it asked for beside itself and its own data."""

    def __init__(self, opened, file, width, scheme="light", **more):
        self.context = opened.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, **more
        )
        self.page = self.context.new_page()
        self.said, self.fetched = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._asked)
        self.address = Path(file).as_uri()
        self.page.goto(self.address)

    def _asked(self, request):
        if request.url != self.address and not request.url.startswith("data:"):
            self.fetched.append(request.url)

    def open_all(self, appendix=False):
        """Every fold opened, those of the ``appendix`` where asked, and every chart drawn."""
        which = "details" if appendix else "details:not(.appendix)"
        self.page.evaluate(
            f"document.querySelectorAll('{which}').forEach(d => {{ d.open = true }})"
        )
        self.wait_for_charts()

    def wait_for_charts(self):
        self.page.wait_for_function(
            "[...document.querySelectorAll('figure.chart')].every(f => "
            "f.closest('details:not([open])') || f.classList.contains('drawn'))"
        )

    def violations(self):
        """What axe-core finds; its script comes by the debugger, since the page lets none in."""
        inside = pytest.importorskip("axe_core_python", reason="NO AXE: accessibility not checked")
        script = (Path(inside.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
        session = self.context.new_cdp_session(self.page)
        session.send("Runtime.evaluate", {"expression": script})
        return self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map("
            "v => [v.id, v.nodes.map(n => n.html.slice(0, 120))]))"
        )

    def widths(self):
        """(what the page is wide, what the window is wide)."""
        return self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )

    def close(self):
        self.context.close()

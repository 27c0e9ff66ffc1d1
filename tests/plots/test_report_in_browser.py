"""The report as a browser sees it."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from hepml.plots.stage import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"),
)
MEASURE = """<script>addEventListener("load", () => {
  const page = document.documentElement;
  page.dataset.seen = JSON.stringify({
    images: [...document.images].map(image => image.naturalWidth),
    overhang: page.scrollWidth - page.clientWidth,
  });
});</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture
def visit(tmp_path):
    """Open a page; returns what the script measured, console lines and the page's requests."""

    def visit(content, width):
        page, log = tmp_path / "page.html", tmp_path / "network.json"
        page.write_text(content + MEASURE, encoding="utf-8")
        outcome = subprocess.run(
            [
                *(CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"),
                *(f"--log-net-log={log}", f"--window-size={width},900", "--dump-dom"),
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        seen = re.search('data-seen="([^"]*)"', outcome.stdout)
        console = [line for line in outcome.stderr.splitlines() if "CONSOLE" in line]
        return json.loads(unescape(seen[1])), console, requests_of_page(log)

    return visit


def requests_of_page(log):
    """URLs from the network log; the browser's own requests have no origin as initiator."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    started = [event.get("params", {}) for event in events]
    return {
        request["url"]
        for request in started
        if request.get("initiator", "not an origin") != "not an origin"
        and request.get("url", "").startswith(("http:", "https:", "ws:", "wss:"))
    }


@pytest.mark.parametrize("width", [1200, 500])
def test_all_images_are_drawn_and_nothing_is_fetched(visit, analysis, drawn, sources, width):
    output = drawn / "report.html"
    write_report(analysis, sources, output)
    seen, console, requests = visit(output.read_text(encoding="utf-8"), width)
    assert len(seen["images"]) == len(sources.figures) > 0
    assert min(seen["images"]) > 0
    assert seen["overhang"] <= 0  # nothing sticks out to the side
    assert console == []
    assert requests == set()


def test_this_check_notices_what_it_looks_for(visit):
    page = (
        '<!DOCTYPE html><title>x</title><img src="http://example.com/a.png">'
        '<div style="width: 3000px">wide</div><script>console.error("oh")</script>'
    )
    seen, console, requests = visit(page, 500)
    assert seen["images"] == [0]
    assert seen["overhang"] > 1000
    assert any("oh" in line for line in console)
    assert requests == {"http://example.com/a.png"}

"""The page in a real browser, by mouse and by keyboard alone."""

import os
import re
import shutil
import threading
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import expect, sync_playwright

from tests.helpers import photograph
from tests.miniature import save

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    """Chromium: of the environment variable CHROMIUM, of this machine, or Playwright's own."""
    with sync_playwright() as playwright:
        found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
        own = playwright.chromium.executable_path
        if not found and not Path(own).exists():
            pytest.skip("there is no Chromium; 'playwright install chromium' fetches one")
        launched = playwright.chromium.launch(
            executable_path=found or own, args=["--no-sandbox"], env=dict(os.environ)
        )
        yield launched
        launched.close()


@pytest.fixture
def url(new_app):
    """The address of a server that runs."""
    server = uvicorn.Server(uvicorn.Config(new_app(None), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(browser, url):
    """The page, which must not complain."""
    context = browser.new_context(viewport={"width": 400, "height": 800})
    opened = context.new_page()
    complaints = []

    def hear(message):
        expected = re.search("422|ERR_FAILED", message.text)  # what is no photograph or away
        if message.type == "error" and not expected:
            complaints.append(message)

    opened.on("console", hear)
    opened.on("pageerror", lambda error: complaints.append(error))
    opened.on("request", lambda request: request.url.startswith(url) or complaints.append(request))
    opened.goto(url)
    yield opened
    context.close()
    assert not complaints


@pytest.fixture
def files(tmp_path):
    """A good photograph and one that is none."""
    (tmp_path / "text.png").write_text("no picture")
    return [save(photograph(505), tmp_path / "part.png"), tmp_path / "text.png"]


def test_photographs_are_scored_shown_filtered_and_corrected(page, files, tmp_path):
    page.set_input_files("#files", files)
    expect(page.locator("#message")).to_have_text("2 of 2 sent")
    expect(page.locator("#parts button")).to_have_count(2)
    page.locator("#parts").get_by_text("text.png").click()
    expect(page.locator("#error")).to_contain_text("cannot be decoded")
    page.locator("#parts").get_by_text("part.png").click()
    expect(page.locator("#figures")).to_contain_text("p-value")
    expect(page.locator("#picture")).to_be_visible()
    box = page.locator("#view").bounding_box()
    assert abs(box["width"] / box["height"] - 48 / 40) < 0.02
    page.locator("#opacity").fill("0")
    assert page.locator("#heat").evaluate("node => node.style.opacity") == "0"
    page.locator("#filter").get_by_text("errors").click()
    expect(page.locator("#parts button:visible")).to_have_count(1)
    page.get_by_role("button", name="defective", exact=True).click()
    expect(page.locator("#message")).to_have_text("noted in corrections.csv")
    assert "defective" in (tmp_path / "corrections.csv").read_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_keyboard_is_enough(page, files, tmp_path):
    page.set_input_files("#files", files)
    expect(page.locator("#parts button")).to_have_count(2)
    first, second = page.locator("#parts button span:nth-child(2)").all_inner_texts()
    tab_to(page, "aria-current")  # the first, whichever is shown
    for key, name in (("ArrowDown", second), ("ArrowUp", first)):
        page.keyboard.press(key)
        expect(page.locator("#name")).to_have_text(name)
    page.locator("#detector").focus()
    tab_to(page, "data-limit")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#description")).to_contain_text("not saved yet")
    tab_to(page, "id", "save")
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_contain_text("saved")
    assert "left" in (tmp_path / "limits.json").read_text()


def tab_to(page, attribute, value=None):
    """Presses Tab until what has the focus has an attribute."""
    for _ in range(40):
        page.keyboard.press("Tab")
        found = page.evaluate("name => document.activeElement.getAttribute(name)", attribute)
        if found is not None and value in (None, found):
            return
    raise AssertionError(f"Tab does not reach {attribute}")


def test_limits_are_dragged_and_undone(page, url):
    limit = page.locator('[data-limit="reject"]')
    expect(limit).to_have_attribute("aria-valuetext", "1 % false alarms")
    line = limit.locator("circle").bounding_box()
    page.mouse.move(line["x"] + 3, line["y"] + 3)
    page.mouse.down()
    page.mouse.move(40, line["y"] + 3, steps=4)
    page.mouse.up()
    expect(limit).not_to_have_attribute("aria-valuetext", "1 % false alarms")
    expect(page.locator('[data-limit="review"]')).to_be_visible()
    page.get_by_role("button", name="undo").click()
    expect(limit).to_have_attribute("aria-valuetext", "1 % false alarms")
    other = page.locator("#description").inner_text()
    page.locator("#detector").select_option("right")
    expect(page.locator("#description")).not_to_have_text(other)


def test_a_server_that_is_away_is_told_of_until_it_is_back(page, files):
    expect(page.locator("#limits")).to_be_visible()
    page.route("**/parts?*", lambda route: route.abort())
    expect(page.locator("#message")).to_have_text("the server does not answer")
    page.unroute("**/parts?*")
    expect(page.locator("#message")).to_have_text("")
    page.set_input_files("#files", files)
    expect(page.locator("#message")).to_have_text("2 of 2 sent")

"""The chat page in Debian's chromium. Set SCREENSHOTS to a folder to keep what the browser showed."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from trueseed.core.chat import Answer, Request
from trueseed.errors import Refused
from trueseed.serve.api import About, app

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=\"window.owned = 1\"><script>window.owned = 2</script>**<b onclick='x'>bold</b>**"
LISTED = """Here are **two tips**:

1. Keep the same hours.
2. Eat lightly:
   - `soup`
   - bread

## In short

```json
{"tips": 2}
```

> A good day begins the night before."""


class Speaker:
    """Says what `script` says, in pieces of a few characters."""

    source = "own/speaker"

    def __init__(self) -> None:
        self.script: Callable[[Request], str] = lambda request: LISTED
        self.pace: Callable[[int], object] = lambda piece: None
        self.recalled = False

    def allowed(self, name: str) -> None:
        if self.recalled:
            raise Refused(f"{EVIL} was recalled; rebuild without it")

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        raise NotImplementedError

    def stream(self, request: Request) -> Iterator[str | Answer]:
        text = self.script(request)
        pieces = [text[start : start + 5] for start in range(0, len(text), 5)]
        for number, piece in enumerate(pieces):
            self.pace(number)
            yield piece
        yield Answer(text=text, finish="stop", prompt_tokens=9, completion_tokens=len(pieces))


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Speaker]]:
    speaker = Speaker()
    label = {"source": "acme/large@api", "relation": "output", "terms": "Acme Terms of 2026"}
    about = About(teacher="acme/large@api", labels=(label,), obligations=(f"Name Acme. {EVIL}",))
    api = app({"seedling": speaker}, allowed=speaker.allowed, about={"seedling": about})
    running = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}", speaker
    running.should_exit = True
    thread.join()


@pytest.fixture
def speaker(server: tuple[str, Speaker]) -> Speaker:
    server[1].__init__()  # type: ignore[misc]  # as new for each test
    return server[1]


@pytest.fixture
def page(browser: Browser, server: tuple[str, Speaker], speaker: Speaker) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1100, "height": 750})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(server[0])
    expect(opened.get_by_role("textbox")).to_be_enabled()  # or its first look for models meets what a test changes
    yield opened
    context.close()
    assert errors == []


def ask(page: Page, text: str) -> None:
    page.get_by_role("textbox").fill(text)
    page.keyboard.press("Enter")


def last_answer(page: Page) -> str:
    expect(page.locator("#talk > li:last-child .below")).to_be_visible()
    return page.locator("#talk > li:last-child .said").inner_text()


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def contrast(page: Page, selector: str) -> float:
    """WCAG 2 contrast ratio of an element's text against the page."""
    ratio = page.evaluate(
        """(selector) => {
            const light = (colour) => {
                const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
                    .map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const text = light(getComputedStyle(document.querySelector(selector)).color);
            const paper = light(getComputedStyle(document.body).backgroundColor);
            return (Math.max(text, paper) + 0.05) / (Math.min(text, paper) + 0.05);
        }""",
        selector,
    )
    return float(ratio)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1180, 800), (375, 740)])
def test_the_page_fits_and_can_be_read(browser, server, speaker, tmp_path, scheme, width, height):
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(server[0])
    expect(page.get_by_role("heading", name="Talk to seedling")).to_be_visible()
    page.screenshot(path=folder / f"chat-empty-{scheme}-{width}.png")
    assert contrast(page, "#blurb") >= 4.5 and contrast(page, "#origin") >= 4.5
    assert overflow(page) == 0
    page.locator("#ideas button").first.click()
    last_answer(page)
    page.screenshot(path=folder / f"chat-answer-{scheme}-{width}.png")
    assert overflow(page) == 0
    box = page.locator("#ask").bounding_box()
    assert box is not None and box["y"] + box["height"] <= height
    assert all((folder / f"chat-{name}-{scheme}-{width}.png").stat().st_size > 10_000 for name in ("empty", "answer"))
    context.close()


def test_an_answer_is_shown_with_its_structure(page):
    ask(page, "Two tips, please")
    last_answer(page)
    said = page.locator("#talk > li:last-child .said")
    assert said.locator("ol > li").count() == 2
    assert said.locator("ol > li > ul > li").all_inner_texts() == ["soup", "bread"]
    assert said.locator("strong").inner_text() == "two tips"
    assert said.locator("h3").inner_text() == "In short"
    assert said.locator("pre").inner_text() == '{"tips": 2}'
    assert said.locator("blockquote").inner_text() == "A good day begins the night before."


def test_shift_enter_begins_a_line_and_enter_sends(page, speaker):
    speaker.script = lambda request: f"{len(request.messages[-1].content.splitlines())} lines"
    page.get_by_role("textbox").fill("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    assert last_answer(page) == "2 lines"
    assert page.get_by_role("textbox").input_value() == ""


def test_nothing_that_is_said_becomes_markup(page, speaker):
    speaker.script = lambda request: EVIL + "\n\n- " + EVIL + "\n\n```\n" + EVIL + "\n```\n# " + EVIL
    ask(page, EVIL)
    assert EVIL.split("**")[0] in last_answer(page)
    assert page.locator("#talk .user .said").inner_text() == EVIL
    page.get_by_role("button", name="details").click()
    assert EVIL in page.locator("#about").inner_text()
    page.keyboard.press("Escape")
    page.reload()  # from what this tab kept
    last_answer(page)
    speaker.recalled = True
    ask(page, "again")
    expect(page.locator(".fault")).to_contain_text("recalled")
    assert page.locator("#talk img, #talk script, #talk b, #about img").count() == 0
    assert page.evaluate("window.owned") is None


def test_even_injected_markup_would_not_run(page):
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data: onerror=\"window.owned = 1\">')")
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None


def test_stop_keeps_what_was_said(page, speaker):
    hold = threading.Event()
    speaker.pace = lambda piece: piece < 3 or hold.wait(20)
    ask(page, "Two tips, please")
    expect(page.locator("#talk > li:last-child .said")).to_contain_text("Here are")
    page.get_by_role("button", name="Stop").click()
    hold.set()
    assert last_answer(page).startswith("Here are")
    expect(page.locator("#talk > li:last-child .below")).to_contain_text("Stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_failure_is_said_and_can_be_tried_again(page, speaker):
    def fail(request: Request) -> str:
        raise ValueError("boom")

    speaker.script = fail
    ask(page, "hello")
    expect(page.get_by_role("alert")).to_contain_text("That did not work.")
    speaker.script = lambda request: f"{len(request.messages)} message"
    page.get_by_role("button", name="Try again").click()
    assert last_answer(page) == "1 message"


def test_a_question_after_a_failure_replaces_it(page, speaker):
    speaker.recalled = True
    ask(page, "hello")
    expect(page.get_by_role("alert")).to_contain_text("may no longer be served")
    expect(page.get_by_role("textbox")).to_be_disabled()
    speaker.recalled = False
    page.get_by_role("button", name="New chat").click()
    page.get_by_role("button", name="Look again").click()
    speaker.script = lambda request: " ".join(message.content for message in request.messages)
    ask(page, "anew")
    assert last_answer(page) == "anew"


def test_a_look_for_models_that_is_answered_late_changes_nothing(page, speaker):
    held = []
    page.route("**/v1/models", lambda route: held.append((route, route.fetch())), times=1)
    speaker.recalled = True
    ask(page, "hello")
    expect(page.get_by_role("alert")).to_contain_text("may no longer be served")
    while not held:
        page.wait_for_timeout(10)
    speaker.recalled = False
    page.get_by_role("button", name="New chat").click()
    page.evaluate("load()")
    expect(page.get_by_role("textbox")).to_be_enabled()
    [(route, late)] = held
    with page.expect_response("**/v1/models"):
        route.fulfill(response=late)
    page.wait_for_timeout(50)
    expect(page.get_by_role("textbox")).to_be_enabled(timeout=1)


def test_a_new_chat_forgets_and_ends_the_answer(page, speaker):
    hold = threading.Event()
    speaker.pace = lambda piece: piece < 3 or hold.wait(20)
    ask(page, "Two tips, please")
    expect(page.locator("#talk > li:last-child .said")).to_contain_text("Here are")
    page.get_by_role("button", name="New chat").click()
    hold.set()
    expect(page.get_by_role("heading", name="Talk to seedling")).to_be_visible()
    speaker.pace = lambda piece: None
    speaker.script = lambda request: f"{len(request.messages)} message"
    ask(page, "hello")
    assert last_answer(page) == "1 message"


def test_scrolling_up_is_respected_until_the_reader_comes_back(page, speaker):
    hold = threading.Event()
    speaker.script = lambda request: "line\n\n" * 400
    speaker.pace = lambda piece: piece < 300 or hold.wait(20)
    ask(page, "A long one")
    expect(page.locator("#talk .assistant p").nth(150)).to_be_attached()
    page.mouse.move(500, 300)
    page.mouse.wheel(0, -2000)
    expect(page.get_by_role("button", name="Latest")).to_be_visible()
    before = page.evaluate("document.querySelector('#scroll').scrollTop")
    hold.set()
    last_answer_visible = page.locator("#talk > li:last-child .below")
    expect(last_answer_visible).to_be_attached()
    assert page.evaluate("document.querySelector('#scroll').scrollTop") == before
    page.get_by_role("button", name="Latest").click()
    expect(last_answer_visible).to_be_in_viewport()

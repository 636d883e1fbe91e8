from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from raywce.report.write import make_report, write_page
from tests.report.browser import opened
from tests.report.made_runs import HOSTILE, MadeRun

LOOKS = [
    ("searched", "desktop", "light"),
    ("searched", "desktop", "dark"),
    ("searched", "phone", "light"),
    ("searched", "phone", "dark"),
    ("confirmed", "phone", "dark"),
]
Written = dict[str, tuple[Path, dict[str, Any]]]
# Of each text its contrast with what is behind it, by WCAG 2: (ratio, font size in pixels, text).
CONTRASTS = """() => {
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const parsed = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parsed(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("script, style") || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const colour = parsed(element.closest("svg") ? style.fill : style.color);
    const [one, other] = [light(colour), light(behind(element))].sort((a, b) => b - a);
    found.push([(one + 0.05) / (other + 0.05), parseFloat(style.fontSize), element.textContent]);
  }
  return found;
}"""
TEXT = """() => {
  const body = document.body.cloneNode(true);
  for (const script of body.querySelectorAll("script")) script.remove();
  return body.textContent.replace(/\\s+/g, " ");
}"""


@pytest.fixture(scope="module")
def written(searched: MadeRun, confirmed: MadeRun) -> Written:
    """Pages and JSON of the two runs."""
    found = {}
    for name, run in (("searched", searched), ("confirmed", confirmed)):
        made = make_report(run.folder)
        found[name] = (Path(write_page(made)), json.loads(json.dumps(made.figures.as_dict(), allow_nan=False)))
    return found


@pytest.fixture(scope="module")
def page(browser: Any, written: Written) -> Iterator[Any]:
    """The search's page, on a desktop."""
    with opened(browser, written["searched"][0], "desktop", "light") as found:
        yield found.page


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def is_rounded(value: float, text: str) -> bool:
    """Whether the text is the number, or a hundred times it, to as many digits as it has."""
    shown = text.replace("−", "-")
    mantissa, _, power = shown.partition("e")
    digits = len(mantissa.partition(".")[2])
    off = 0.5001 * 10.0 ** (int(power or 0) - digits)
    return any(math.isclose(float(shown), scale * value, abs_tol=off, rel_tol=1e-9) for scale in (1, 100))


@pytest.mark.parametrize(("name", "size", "scheme"), LOOKS)
def test_it_opens_by_itself_fits_and_can_be_read(
    browser: Any, written: Written, name: str, size: str, scheme: str
) -> None:
    file, figures = written[name]
    with opened(browser, file, size, scheme) as found:
        assert found.said == []
        assert found.asked == []
        page = found.page
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        drawn = page.locator(".plot .main-svg:first-child").count()
        assert drawn == page.locator(".plot").count() >= 10
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        pale = [one for one in page.evaluate(CONTRASTS) if one[0] < (3 if one[1] >= 24 else 4.5)]
        assert pale == []
        assert page.locator("#finding").inner_text().replace("\u00a0", " ") == figures["finding"]


@pytest.mark.parametrize("name", ["searched", "confirmed"])
def test_every_figure_of_the_json_is_on_the_page(browser: Any, written: Written, name: str) -> None:
    file, figures = written[name]
    with opened(browser, file, "desktop", "light", drawn=False) as found:
        shown = found.page.evaluate("[...document.querySelectorAll('data')].map((one) => [one.value, one.textContent])")
        text = found.page.evaluate(TEXT)
    texts: dict[float, set[str]] = {}
    for value, written_as in shown:
        texts.setdefault(float(value), set()).add(written_as)
    numbers = [leaf for leaf in leaves(figures) if isinstance(leaf, int | float) and not isinstance(leaf, bool)]
    assert len(numbers) > 500
    assert [number for number in numbers if number not in texts] == []
    assert [(value, of) for value, of in texts.items() if not all(is_rounded(value, one) for one in of)] == []
    words = {" ".join(leaf.split()) for leaf in leaves(figures) if isinstance(leaf, str)}
    assert {word for word in words if word not in text} <= {"hit", "substitution", "insertion", "deletion"}  # looks


def test_what_stands_in_the_data_is_text_only(page: Any) -> None:
    assert page.evaluate("window.hurt") is None
    assert page.locator("main img").count() == 0
    assert HOSTILE in page.evaluate(TEXT)


def test_it_can_be_used_with_the_keyboard(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    kinds = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        kinds.add(page.evaluate("document.activeElement.tagName.toLowerCase()"))
    assert {"summary", "div", "button"} <= kinds  # details, tables that scroll, columns to sort by
    assert page.evaluate("[...document.querySelectorAll('.plot')].every((one) => one.ariaLabel)")
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_trainings_are_sorted_by_the_column_that_is_pressed(page: Any) -> None:
    table = page.locator("table.sortable")
    head = table.locator("th", has_text="largest rise")
    column = head.evaluate("(one) => one.cellIndex + 1")
    cells = table.locator(f"tbody tr > :nth-child({column})")
    for order, sign in (("ascending", 1), ("descending", -1)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        values = [float(text.replace("−", "-")) for text in cells.all_inner_texts() if text]
        assert values == sorted(values, key=lambda value: sign * value)
        assert len(values) > 8


def test_plots_follow_the_colour_scheme_when_it_changes(page: Any) -> None:
    fill = "getComputedStyle(document.querySelector('#trade-off .xtick text')).fill"
    light = page.evaluate(fill)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-drawn=dark]", state="attached")
    assert page.evaluate(fill) != light


def test_nothing_on_the_page_names_another_place_to_load_from(written: Written) -> None:
    text = written["searched"][0].read_text()
    tags = re.findall(r"<(?:link|img|iframe|object)\b[^>]*>", re.sub(r"<script.*?</script>", "", text, flags=re.S))
    assert [tag for tag in tags if "//" in tag] == []
    assert text.count("plotly.js v") == 1

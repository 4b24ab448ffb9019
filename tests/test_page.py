"""The page of a run in a real browser: sorting, search, folding, light and dark, and that it asks nothing of anybody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser import Page
from tests.children import DEADLINE_S, only_run, write_script

pytestmark = pytest.mark.needs("chromium")

#: A script for each way to end, with outputs whose sizes read otherwise than they count.
SCRIPTS = {
    "broken.sh": "echo 'the TANK is empty' >&2; exit 3",
    "long.sh": "head -c 2999 /dev/zero | tr '\\0' x; echo",
    "old.sh": "exit 0",
    "silent.sh": "exit 0",
    "slow.sh": "echo waiting; exec sleep 600",
    "step10.sh": "head -c 899 /dev/zero | tr '\\0' x; echo",
    "step2.sh": "echo small fish",
}
SETTINGS = """
[scripts."slow.sh"]
timeout = "200ms"
[scripts."old.sh"]
skip = "moved to the weekly run"
"""

#: The names in the table, in its order, as far as they are to be seen.
NAMES = """[...document.querySelectorAll("#tasks tbody tr")].filter(row => row.checkVisibility())
    .map(row => row.querySelector("summary").textContent)"""
ROWS = 'document.querySelectorAll("#tasks tbody tr").length'
SHOWN = 'document.querySelector("#shown").textContent'
SEARCH = 'document.querySelector("#search")'
NOTHING_MATCHES = 'document.querySelector("#none").checkVisibility()'
PAPER = "getComputedStyle(document.body).backgroundColor"
INK = "getComputedStyle(document.body).color"
THEME = 'document.querySelector("#theme")'

#: Goes to the end of the page, from somewhere else, and gives the number of rows that there are then.
SCROLLED = f"""async () => {{
    for (const place of [0, document.body.scrollHeight]) {{
        scrollTo(0, place);
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    }}
    return {ROWS};
}}"""

LIGHT, DARK = "rgb(250, 249, 247)", "rgb(21, 25, 29)"


def run(program: Path, folder: Path, scripts: dict[str, str], settings: str = "") -> Path:
    """Carry out scripts; gives the folder of the run."""
    for name, body in scripts.items():
        write_script(folder / name, body, shell="/bin/sh")
    (folder / "dirigent.toml").write_text(settings)
    state = folder / "state"
    argv = [program, "run", folder, "--state-dir", state, "--report", "html,json"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.returncode in (0, 1), ended.stderr
    return only_run(state)


@pytest.fixture
def folder(program: Path, tmp_path: Path) -> Path:
    """The folder of a run of the scripts above."""
    return run(program, tmp_path, SCRIPTS, SETTINGS)


@pytest.fixture
def report(folder: Path, page: Page) -> Page:
    """The page of that run, opened."""
    page.go((folder / "report.html").as_uri())
    return page


def head(column: str) -> str:
    """The head of a column, as a thing to click on."""
    return f"""[...document.querySelectorAll("#tasks th button")].find(it => it.textContent === "{column}")"""


def state(words: str) -> str:
    """The count of a state, as a thing to click on."""
    return f"""[...document.querySelectorAll("#counts button")].find(it => it.textContent.trim().endsWith("{words}"))"""


def row(name: str) -> str:
    """A row of the table."""
    look = f'row => row.querySelector("summary").textContent === "{name}"'
    return f"""[...document.querySelectorAll("#tasks tbody tr")].find({look})"""


def search(page: Page, text: str) -> None:
    """Write something into the field for searching, in place of what is there."""
    page.click(SEARCH)
    page.evaluate(f"{SEARCH}.select()")
    if text:
        page.type(text)
    else:
        page.press("Delete", 46)
    page.wait_for(f"{SEARCH}.value", text)


# --- sorting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "orders"),
    [
        (
            "Task",
            {
                "ascending": "broken long old silent slow step2 step10",
                "descending": "step10 step2 slow silent old long broken",
            },
        ),
        (
            "State",
            {
                "ascending": "long silent step10 step2 broken old slow",
                "descending": "slow old broken long silent step10 step2",
            },
        ),
        (
            "Output",
            {
                "descending": "long step10 broken step2 slow old silent",
                "ascending": "slow step2 broken step10 long old silent",
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_head_sorts_one_way_then_the_other_then_as_it_was(
    report: Page, column: str, orders: dict[str, str]
) -> None:
    as_it_was = report.evaluate(NAMES)
    assert sorted(as_it_was) == sorted(SCRIPTS)
    ordering = f'{head(column)}.closest("th").getAttribute("aria-sort")'
    for order, names in orders.items():
        report.click(head(column))
        report.wait_for(NAMES, [f"{name}.sh" for name in names.split()])
        assert report.evaluate(ordering) == order
    report.click(head(column))
    report.wait_for(NAMES, as_it_was)
    assert report.evaluate(ordering) is None


def test_only_one_head_sorts_at_a_time_and_keys_do_as_well(report: Page) -> None:
    report.click(head("Output"))
    report.evaluate(f"{head('Task')}.focus()")
    report.press("Enter", 13, "\r")
    report.wait_for(
        NAMES, ["broken.sh", "long.sh", "old.sh", "silent.sh", "slow.sh", "step2.sh", "step10.sh"]
    )
    sorting = '[...document.querySelectorAll("[aria-sort]")].map(it => it.textContent)'
    assert report.evaluate(sorting) == ["Task"]


def test_minutes_are_more_than_seconds(program: Path, folder: Path, page: Page) -> None:
    # Nobody waits for minutes in a test: another record says that it took them, and the page is made from that one.
    took_s = {"step2.sh": 125, "long.sh": 59.9, "step10.sh": 3 * 3600, "silent.sh": 0.5, "broken.sh": 9}
    names = [task["name"] for task in json.loads((folder / "summary.json").read_text())["tasks"]]

    def dirigent(*argv: str | Path) -> str:
        command = [program, *argv]
        return subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S
        ).stdout

    run_head, *lines = map(json.loads, dirigent("export", folder).splitlines())
    del run_head["digest"]
    run_head["id"] = lines[0]["run"] = "edited"
    for event in lines:
        if event["kind"] == "attempt_ended" and names[event["task"]] in took_s:
            event["usage"]["wall_us"] = int(took_s[names[event["task"]]] * 1e6)
    edited, elsewhere = folder / "edited.jsonl", folder / "elsewhere"
    edited.write_text("".join(json.dumps(line) + "\n" for line in (run_head, *lines)))
    assert dirigent("import", edited, "--state-dir", elsewhere) == "edited\n"
    dirigent("report", "edited", "--state-dir", elsewhere, "--format", "html")
    page.go((elsewhere / "runs/edited/report.html").as_uri())
    page.click(head("Time"))
    by_time = ["step10.sh", "step2.sh", "long.sh", "broken.sh"]
    page.wait_for(f"({NAMES}).slice(0, 4)", by_time)
    page.click(head("Time"))
    page.wait_for(f"({NAMES}).slice(-5, -1)", by_time[::-1])
    assert page.evaluate(NAMES)[-1] == "old.sh", "what never ran has no time, whichever way it is sorted"


# --- search and filters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("STEP", "step10 step2"),
        ("weekly", "old"),
        ("exit code 3", "broken"),
        ("tank", "broken"),
        ("fish small", "step2"),
        ("  timed   out ", "slow"),
    ],
)
def test_search_looks_at_names_messages_and_output(report: Page, text: str, names: str) -> None:
    everything = report.evaluate(NAMES)
    assert report.evaluate(SHOWN) == "7 tasks"
    search(report, text)
    expected = [f"{name}.sh" for name in names.split()]
    report.wait_for(f"({NAMES}).sort()", expected)
    assert report.evaluate(SHOWN) == f"{len(expected)} of 7 tasks"
    search(report, "")
    report.wait_for(NAMES, everything)
    assert report.evaluate(SHOWN) == "7 tasks"


def test_a_search_that_finds_nothing_says_so(report: Page) -> None:
    assert not report.evaluate(NOTHING_MATCHES)
    search(report, "tank fish")
    report.wait_for(NAMES, [])
    assert report.evaluate(NOTHING_MATCHES)
    assert report.evaluate(SHOWN) == "0 of 7 tasks"
    search(report, "tank")
    report.wait_for(NAMES, ["broken.sh"])
    assert not report.evaluate(NOTHING_MATCHES)


def test_the_counts_filter_alone_together_and_with_a_search(report: Page) -> None:
    everything = report.evaluate(NAMES)
    pressed = '[...document.querySelectorAll("[aria-pressed=true]")].map(it => it.textContent.trim())'
    report.click(state("failed"))
    report.wait_for(NAMES, ["broken.sh"])
    report.click(state("timed out"))
    report.wait_for(f"({NAMES}).sort()", ["broken.sh", "slow.sh"])
    assert report.evaluate(pressed) == ["1 failed", "1 timed out"]
    search(report, "tank")
    report.wait_for(NAMES, ["broken.sh"])
    report.click(state("failed"))
    report.wait_for(NAMES, [])
    search(report, "")
    report.click(state("timed out"))
    report.wait_for(NAMES, everything)
    assert report.evaluate(pressed) == []


def test_a_filter_keeps_the_order_and_an_order_keeps_the_filter(report: Page) -> None:
    report.click(head("Output"))
    report.click(state("completed"))
    report.wait_for(NAMES, ["long.sh", "step10.sh", "step2.sh", "silent.sh"])
    report.click(head("Output"))
    report.wait_for(NAMES, ["step2.sh", "step10.sh", "long.sh", "silent.sh"])


# --- folding --------------------------------------------------------------------------------------


def test_a_row_unfolds_its_output_and_folds_it_again(report: Page) -> None:
    summary = f'{row("step2.sh")}.querySelector("summary")'
    log = f'{row("step2.sh")}.querySelector("pre").checkVisibility()'
    assert not report.evaluate(log)
    report.click(summary)
    report.wait_for(log, True)
    report.wait_for(f'{row("step2.sh")}.querySelector("pre").innerText', "small fish")
    report.evaluate(f"{summary}.focus()")
    report.press("Enter", 13, "\r")
    report.wait_for(log, False)


def test_what_is_unfolded_stays_so_when_sorted(report: Page) -> None:
    report.click(f'{row("step2.sh")}.querySelector("summary")')
    report.click(head("Output"))
    report.wait_for(f"({NAMES})[0]", "long.sh")
    unfolded = '[...document.querySelectorAll("details[open] summary")].map(it => it.textContent)'
    assert report.evaluate(unfolded) == ["step2.sh"]


def test_a_log_is_one_click_away(folder: Path, report: Page) -> None:
    report.click(f'{row("step2.sh")}.querySelector("summary")')
    report.click(f'{row("step2.sh")}.querySelector("details a")')
    report.wait_for('document.body?.innerText.trim() ?? ""', "small fish")
    assert report.evaluate("location.href").startswith(f"{folder.as_uri()}/tasks/")


def test_the_first_failure_leads_to_its_row_even_if_that_was_filtered_out(report: Page) -> None:
    search(report, "fish")
    report.wait_for(NAMES, ["step2.sh"])
    report.click('document.querySelector(".failure .what a")')
    report.wait_for(NAMES, ["broken.sh", "step2.sh"])
    report.wait_for(f'{row("broken.sh")}.querySelector("pre").checkVisibility()', True)
    report.wait_for(f'{row("broken.sh")}.querySelector("pre").innerText', "the TANK is empty")
    place = f"{row('broken.sh')}.getBoundingClientRect()"
    report.wait_for(f"(it => it.top >= 0 && it.bottom <= innerHeight)({place})", True)


# --- what is seen ---------------------------------------------------------------------------------


def test_it_is_light_or_dark_as_the_system_is(report: Page) -> None:
    for scheme, paper, ink in (("light", LIGHT, "rgb(31, 38, 44)"), ("dark", DARK, "rgb(227, 232, 236)")):
        report.emulate_media(prefers_color_scheme=scheme)
        report.wait_for(f"[{PAPER}, {INK}]", [paper, ink])


@pytest.mark.parametrize(("scheme", "papers"), [("light", [LIGHT, DARK]), ("dark", [DARK, LIGHT])])
def test_a_button_turns_light_into_dark_and_back(
    folder: Path, page: Page, scheme: str, papers: list[str]
) -> None:
    page.emulate_media(prefers_color_scheme=scheme)
    page.go((folder / "report.html").as_uri())
    for paper, other in (papers, papers[::-1]):
        page.wait_for(PAPER, paper)
        assert page.evaluate(f"{THEME}.textContent") == {LIGHT: "Light", DARK: "Dark"}[other]
        page.click(THEME)
    page.wait_for(PAPER, papers[0])


#: Every text whose contrast to what is behind it is under 4.5 : 1, as WCAG 2 counts it.
#: A canvas mixes what is not opaque, and turns every way to write a colour into red, green and blue.
FAINT = """(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const light = colours => {
        for (const colour of colours) {
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
        }
        const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map(linear);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const parents = element => element ? [...parents(element.parentElement), element] : [];
    const holdsText = element => [...element.childNodes].some(it => it.nodeType === 3 && it.data.trim());
    return [...document.querySelectorAll("body, body :not(script, svg *)")]
        .filter(element => element.checkVisibility() && holdsText(element))
        .map(element => {
            const behind = parents(element).map(it => getComputedStyle(it).backgroundColor);
            const both = [light(behind), light([...behind, getComputedStyle(element).color])];
            const contrast = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
            return [element.textContent.trim().slice(0, 30), contrast];
        })
        .filter(([, contrast]) => contrast < 4.5);
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(report: Page, scheme: str) -> None:
    report.emulate_media(prefers_color_scheme=scheme)
    report.evaluate('document.querySelectorAll("details").forEach(it => (it.open = true))')
    report.wait_for(FAINT, [])


def test_a_narrow_window_is_never_scrolled_sideways(program: Path, tmp_path: Path, page: Page) -> None:
    scripts = {f"{'a_very_' * 20}long_name.sh": f"echo {'word' * 200} >&2; exit 1", "ok.sh": "exit 0"}
    folder = run(program, tmp_path, scripts)
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=2, mobile=True)
    page.go((folder / "report.html").as_uri())
    page.evaluate('document.querySelectorAll("details").forEach(it => (it.open = true))')
    page.wait_for("[innerWidth, document.documentElement.scrollWidth]", [360, 360])


def test_without_its_script_all_of_it_can_be_read(folder: Path, page: Page) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.go((folder / "report.html").as_uri())
    page.wait_for(f"({NAMES}).sort()", sorted(SCRIPTS))
    assert page.evaluate('document.querySelectorAll("button").length') == 0, "the script has not run"
    assert not page.evaluate(f"{SEARCH}.checkVisibility()"), "it could do nothing"
    page.click(f'{row("step2.sh")}.querySelector("summary")')
    page.wait_for(f'{row("step2.sh")}.querySelector("pre").checkVisibility()', True)


# --- very many ------------------------------------------------------------------------------------


@pytest.fixture
def many(program: Path, tmp_path: Path, page: Page) -> Page:
    """The page of a run of 900 scripts."""
    folder = run(program, tmp_path, {f"s{number}.sh": "exit 0" for number in range(900)})
    page.go((folder / "report.html").as_uri())
    return page


def test_of_very_many_the_first_are_there_and_more_come_when_scrolled_to(many: Page) -> None:
    assert many.evaluate(SHOWN) == "900 tasks"
    assert many.evaluate(ROWS) == 400
    many.wait_for(f"({SCROLLED})()", 900)
    assert many.evaluate(f"new Set({NAMES}).size") == 900


def test_of_very_many_the_others_are_read_when_there_is_nothing_else_to_do(many: Page) -> None:
    many.wait_for("[declared.length, unread.length]", [900, 0])
    assert many.evaluate(ROWS) == 400, "nobody has asked to see them"


def test_of_very_many_all_can_be_read_without_the_script(many: Page) -> None:
    address = many.evaluate("location.href")
    many.call("Emulation.setScriptExecutionDisabled", value=True)
    many.go(address)
    names = """[...document.querySelectorAll("#tasks tbody tr")].filter(row => row.checkVisibility())
        .map(row => row.querySelector("summary").textContent)"""
    many.wait_for(f"new Set({names}).size", 900)


def test_of_very_many_all_are_searched_sorted_and_led_to(many: Page) -> None:
    hidden = "s899.sh"
    assert hidden not in many.evaluate(NAMES)
    many.click(head("Task"))
    many.click(head("Task"))
    many.wait_for(f"({NAMES})[0]", hidden)
    many.click(head("Task"))
    search(many, "S899")
    many.wait_for(NAMES, [hidden])
    search(many, "")
    many.wait_for(ROWS, 400)
    many.evaluate(f"location.hash = [...declared].find(it => it.textContent.includes({hidden!r})).id")
    many.wait_for(f'{row(hidden)}?.querySelector("details").open', True)


def test_very_many_are_all_printed(many: Page) -> None:
    assert many.evaluate(ROWS) == 400
    many.call("Page.printToPDF")
    many.wait_for(ROWS, 900)


# --- it asks nothing, and text stays text ---------------------------------------------------------


def test_it_asks_nothing_of_anybody_whatever_is_done_with_it(folder: Path, report: Page) -> None:
    for column in ("Task", "Started", "Time", "CPU", "Memory", "Output"):
        report.click(head(column))
    report.click(state("failed"))
    report.click(f'{row("broken.sh")}.querySelector("summary")')
    search(report, "tank")
    report.click(THEME)
    report.call("Page.printToPDF")
    report.wait_for(NAMES, ["broken.sh"])
    assert report.requested == [(folder / "report.html").as_uri()]


EVIL = "<img src=x onerror=stolen=1>"


def test_markup_in_names_messages_and_output_stays_text(program: Path, tmp_path: Path, page: Page) -> None:
    evil = f"</pre></title><script>stolen=1</script>{EVIL}<a href=javascript:stolen=1>"
    scripts = {f"{EVIL}.sh": f"echo '{evil}' >&2; exit 1", "old.sh": "exit 0"}
    folder = run(program, tmp_path / EVIL, scripts, f'[scripts."old.sh"]\nskip = "{EVIL}"\n')
    page.go((folder / "report.html").as_uri())
    page.wait_for(f"({NAMES}).sort()", [f"{EVIL}.sh", "old.sh"])
    page.click('document.querySelector(".failure .what a")')
    unfolded = f'{row(f"{EVIL}.sh")}.querySelector("pre")'
    page.wait_for(f"{unfolded}.checkVisibility()", True)
    assert page.evaluate(f"{unfolded}.textContent") == evil
    assert EVIL in page.evaluate("document.title")
    assert EVIL in page.evaluate(f"{row('old.sh')}.cells[2].textContent")
    assert page.evaluate("[document.images.length, document.scripts.length, typeof stolen]") == [
        0,
        1,
        "undefined",
    ]
    assert page.requested == [(folder / "report.html").as_uri()]


PLANTED: dict[str, Callable[[str], str]] = {
    "script": lambda _: "<script>stolen = 1</script>",
    "handler": lambda _: "<svg onload='stolen = 1'></svg>",
    "picture": lambda there: f"<img src='{there}' onload='stolen = 1' onerror='stolen = 1'>",
    "style": lambda _: "<style>body { --stolen: 1 }</style>",
    "address": lambda _: "<base href='https://example.org/'>",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_came_to_be_markup_could_neither_run_nor_fetch(folder: Path, page: Page, kind: str) -> None:
    there = folder / "there.svg"
    there.write_text("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>")
    whole = (folder / "report.html").read_text()
    planted = folder / "planted.html"
    planted.write_text(whole.replace("<footer>", f"{PLANTED[kind](there.as_uri())}<footer>"))
    page.go(planted.as_uri())
    page.wait_for(f"({NAMES}).length", len(SCRIPTS))
    stolen = """[typeof stolen, document.baseURI === location.href,
        getComputedStyle(document.body).getPropertyValue("--stolen")]"""
    assert page.evaluate(stolen) == ["undefined", True, ""]
    page.wait_for("document.readyState", "complete")
    assert page.errors, "the page says what it refused"
    assert all("Content Security Policy" in error for error in page.errors), page.errors
    page.errors.clear()

"""What every test may ask for: the installed program, a clean environment, tools that may be missing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, Page
from tests.children import Ledger
from tests.fault_matrix import FaultMatrix
from tests.terminals import Terminal

ROOT = Path(__file__).resolve().parent.parent

#: Programs that go by another name on some systems.
OTHER_NAMES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "fd": ("fd", "fdfind"),
}


def find_tool(tool: str) -> str | None:
    """The path of a program, by any of its names; for ``root``, something if we are root."""
    if tool == "root":
        return "root" if os.geteuid() == 0 else None
    return next(filter(None, map(shutil.which, OTHER_NAMES.get(tool, (tool,)))), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to write the page of faults."""
    parser.addoption("--fault-matrix", action="store_true", help="write docs/faults.md: how every fault went")


def pytest_configure(config: pytest.Config) -> None:
    """Hear Ctrl-C, as all that is started from here does then: a shell has its jobs in the background ignore it."""
    if config.getoption("--fault-matrix"):
        config.pluginmanager.register(FaultMatrix())
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked ``needs(...)`` where something it needs is missing."""
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if find_tool(tool) is None:
                pytest.skip("we are not root" if tool == "root" else f"{tool} is not installed")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def program() -> Path:
    """The program ``dirigent`` as installed beside this interpreter."""
    path = Path(sys.executable).parent / "dirigent"
    assert path.exists(), f"{path} is missing: install the package first (make install)"
    return path


@pytest.fixture(autouse=True)
def no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tester's own settings and home folder out of every test."""
    for name in [name for name in os.environ if name.startswith("DIRIGENT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-user-settings"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger, whose signers are gone afterwards whatever happened."""
    ledger = Ledger(tmp_path / "ledger")
    yield ledger
    ledger.end_all()


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal of 100 columns and 30 rows; it is closed afterwards."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all these tests; nothing of it is left afterwards."""
    chromium = find_tool("chromium")
    assert chromium is not None
    browser = Browser(chromium, tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; whatever was opened in it, nothing may have gone wrong there."""
    with browser.page() as page:
        yield page
        page.evaluate("1")  # what went wrong before this has been told when it is answered
        assert page.errors == []

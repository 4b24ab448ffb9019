"""The rules that keep the code readable: floors, reading order, header lines, names, sizes, purity.

Each rule is a function from a folder to the list of what breaks it. It is held against this project, which
must give none, and against small broken trees, which must give the complaint expected: a rule is seen to fail
before it is trusted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it where the interpreter does not have it

ROOT = Path(__file__).resolve().parent.parent

#: A crate uses only crates on lower floors.
FLOORS = {
    "core": 0,
    "schedule": 0,
    "project": 1,
    "process": 1,
    "journal": 1,
    "report": 1,
    "engine": 2,
    "cli": 3,
    "py": 4,
}

#: Names that say nothing: whatever stands in such a file belongs somewhere with a name.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "managers"}

#: Folders that hold code of ours, and folders that hold none wherever they stand.
CODE = ("rust", "python", "tests", "bench", "examples", "packaging")
NOT_OURS = {"target", "dist", "build", "node_modules", "__pycache__"}

LINES = 600

#: Ways of `core` to touch the world: what it may not name.
WORLD = ("fs", "net", "thread", "process", "env", "time::SystemTime", "time::Instant")

#: What `std::env` has that depends on who started us.
ENVIRONMENT = r"env::(?:vars?|vars?_os|home_dir|set_var|remove_var)"


# --- reading --------------------------------------------------------------------------------------


def files(root: Path, *suffixes: str) -> Iterator[Path]:
    """Our files with one of the suffixes (all without), sorted; nothing hidden, built or downloaded."""
    for path in sorted(root.iterdir()):
        hidden = path.name.startswith(".") and path.name != ".ci"
        if hidden or path.is_symlink() or path.name in NOT_OURS or path.parts[-2:] == ("packaging", "data"):
            continue
        if path.is_dir():
            yield from files(path, *suffixes)
        elif not suffixes or path.suffix in suffixes:
            yield path


def crates(root: Path) -> Iterator[Path]:
    """The folders of the workspace's crates."""
    yield from sorted(manifest.parent for manifest in root.glob("rust/*/Cargo.toml"))


NOISE = re.compile(
    r"""
    //[^\n]* | /\*.*?\*/                      # comments
    | \bb?r(\#*)".*?"\1                       # raw strings
    | b?"(?:\\.|[^"\\])*"                     # strings
    | b?'(?:\\[^']+|[^'\\])'                  # characters, which a lifetime is not
    """,
    re.VERBOSE | re.DOTALL,
)
TESTS = re.compile(r"#\[cfg\((?:test|all\(test\b[^\]]*)\)?\)?\]\s*(?:#\[[^\]]*\]\s*)*mod\s+\w+\s*\{")


def code_of(path: Path) -> str:
    """A Rust file without comments, texts and its inline tests, which may use anything."""
    code = NOISE.sub(" ", path.read_text(encoding="utf-8"))
    while (found := TESTS.search(code)) is not None:
        code = code[: found.start()] + code[end_of_braces(code, found.end()) :]
    return code


def end_of_braces(code: str, start: int) -> int:
    """The place behind the brace that closes the one just before `start`."""
    depth, at = 1, start
    while depth and at < len(code):
        depth += {"{": 1, "}": -1}.get(code[at], 0)
        at += 1
    return at


PATH = re.compile(r"(?<![\w:])(?:crate|super|self|std|core)(?:\s*::\s*(?:\w+|(?=[{*])))+")


def paths_in(code: str) -> Iterator[tuple[str, ...]]:
    """Every path that starts at a known place, with `{…}` groups taken apart."""
    for found in PATH.finditer(code):
        head = tuple(re.findall(r"\w+", found.group()))
        rest = code[found.end() :].lstrip()
        if found.group().rstrip().endswith("::") and rest.startswith("{"):
            body = rest[1 : end_of_braces(rest, 1) - 1]
            for tail in group_members(body):
                yield head + tail
        else:
            yield head


def group_members(body: str) -> Iterator[tuple[str, ...]]:
    """The paths inside the braces of a `use`."""
    depth, start = 0, 0
    for at, sign in enumerate(body + ","):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            member, start = body[start:at].strip(), at + 1
            head, brace, inner = member.partition("{")
            words = tuple(word for word in re.findall(r"\w+", head.split(" as ")[0]) if word != "self")
            if brace:
                yield from (words + tail for tail in group_members(inner.rpartition("}")[0]))
            elif member:
                yield words


# --- rules ----------------------------------------------------------------------------------------


def floors(root: Path) -> list[str]:
    """A crate depends only on crates of lower floors, and every crate has a floor."""
    wrong = []
    for crate in crates(root):
        if crate.name not in FLOORS:
            wrong.append(f"rust/{crate.name} has no floor: add it to FLOORS and to rust/README.md")
            continue
        manifest = tomllib.loads((crate / "Cargo.toml").read_text(encoding="utf-8"))
        tables = [manifest, *manifest.get("target", {}).values()]
        kinds = [table.get(kind, {}) for table in tables for kind in ("dependencies", "build-dependencies")]
        for name in (name for kind in kinds for name in kind):
            used = name.removeprefix("dirigent-")
            if used != name and FLOORS.get(used, 99) >= FLOORS[crate.name]:
                wrong.append(f"rust/{crate.name} uses {used}, which is not on a lower floor")
    return wrong


def reading_order(root: Path) -> list[str]:
    """A module uses only the modules listed above it, so that a crate can be read from top to bottom."""
    sources = [crate / "src" for crate in crates(root) if (crate / "src/lib.rs").exists()]
    return [complaint for src in sources for complaint in order_of(src)]


MOD = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", re.MULTILINE)
REEXPORT = re.compile(r"\bpub(?:\([^)]*\))?\s+use\s+(?:(?:self|crate)::)?(\w+)::([^;]+);")


def order_of(src: Path) -> list[str]:
    """What breaks the reading order in one crate."""
    modules = {
        (): src / "lib.rs",
        **{
            tuple(name for name in path.relative_to(src).with_suffix("").parts if name != "mod"): path
            for path in files(src, ".rs")
            if path not in (src / "lib.rs", src / "main.rs")
        },
    }
    code = {place: code_of(path) for place, path in modules.items()}
    order = {place: MOD.findall(text) for place, text in code.items()}
    # A name that a module's list hands on stands for the module it comes from.
    homes = {
        (place, word): home
        for place, text in code.items()
        for home, words in REEXPORT.findall(text)
        for word in re.findall(r"\w+", words)
    }
    wrong = []
    for place, path in modules.items():
        for words in paths_in(code[place]):
            target = resolve(place, words)
            if target is None:
                continue
            shared = next((i for i, (a, b) in enumerate(zip(place, target, strict=False)) if a != b), None)
            if shared is None:
                continue
            around, own, other = place[:shared], place[shared], target[shared]
            listed = order.get(around, [])
            other = other if other in listed else homes.get((around, other), other)
            if own in listed and other in listed and listed.index(other) > listed.index(own):
                inside = path.relative_to(src.parent.parent.parent)
                wrong.append(f"{inside}: `{own}` uses `{other}`, which is listed below it")
    return sorted(set(wrong))


def resolve(place: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The place that a path written at `place` means, counted from the crate; None for other crates."""
    start, *rest = words
    if start == "crate":
        return tuple(rest)
    if start == "self":
        return place + tuple(rest)
    if start == "super" and place:
        up = place[:-1]
        while rest and rest[0] == "super":
            up, rest = up[:-1], rest[1:]
        return up + tuple(rest)
    return None


def header_lines(root: Path) -> list[str]:
    """The first line of a file says what it is for."""
    wrong = []
    for folder in CODE:
        for path in files(root / folder, ".rs", ".py", ".pyi") if (root / folder).is_dir() else ():
            first = path.read_text(encoding="utf-8").split("\n", 1)[0]
            if not re.match(r'//! \S|r?"""\S|#!', first):
                wrong.append(f"{path.relative_to(root)}: the first line does not say what the file is for")
    return wrong


def telling_names(root: Path) -> list[str]:
    """No file, folder or module has a name that says nothing."""
    wrong = []
    for path in (path for folder in CODE if (root / folder).is_dir() for path in files(root / folder)):
        inside = path.relative_to(root)
        parts = (*inside.parts[:-1], inside.stem)
        wrong += [f"{inside}: `{part}` says nothing" for part in parts if part in EMPTY_NAMES]
        if path.suffix == ".rs":
            modules = re.findall(r"\bmod\s+(\w+)\s*[;{]", NOISE.sub(" ", path.read_text(encoding="utf-8")))
            wrong += [f"{inside}: module `{name}` says nothing" for name in modules if name in EMPTY_NAMES]
    return wrong


def sizes(root: Path) -> list[str]:
    """No file is longer than a person reads at once."""
    kinds = (".rs", ".py", ".pyi", ".toml", ".yaml", ".yml", ".sh", ".js", ".css", ".html", ".md")
    lengths = {path.relative_to(root): path.read_bytes().count(b"\n") for path in files(root, *kinds)}
    return [f"{path}: {count} lines, more than {LINES}" for path, count in lengths.items() if count > LINES]


# Put together from pieces, so that this file does not break the rule it holds.
HOSTS = (
    "crates io",
    "pypi org",
    "pythonhosted org",
    "npmjs org",
    "npmjs com",
    "deb debian org",
    "proxy golang org",
)
HOMES = ("work", "root")
ELSEWHERE = re.compile(
    "|".join(host.replace(" ", r"\.") for host in HOSTS) + rf"|(?<![\w.}}>*])/(?:{'|'.join(HOMES)})/"
)


def no_elsewhere(root: Path) -> list[str]:
    """Nothing depends on one machine or names the host of a package registry."""
    wrong = []
    for path in files(root):
        # Cargo writes the registry's name into its lock file itself.
        if path.name == "Cargo.lock":
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.split("\n"), 1):
            place = f"{path.relative_to(root)}:{number}"
            wrong += [f"{place}: mentions `{found.group()}`" for found in ELSEWHERE.finditer(line)]
    return wrong


def purity(root: Path) -> list[str]:
    """`core` touches nothing; only `cli` and `py` read the environment; only `cli` prints."""
    wrong = []
    for crate in crates(root):
        for path in files(crate / "src", ".rs") if (crate / "src").is_dir() else ():
            inside, code = path.relative_to(root), code_of(path)
            named = {"::".join(words) for words in paths_in(code)}
            if crate.name == "core":
                touched = [
                    name for name in sorted(named) if re.match(rf"std::(?:{'|'.join(WORLD)})(?!\w)", name)
                ]
                wrong += [f"{inside}: `core` uses `{name}`" for name in touched]
            if crate.name not in ("cli", "py"):
                asked = {
                    name.removeprefix("std::") for name in named if re.fullmatch("std::" + ENVIRONMENT, name)
                }
                asked |= set(re.findall(rf"\b{ENVIRONMENT}\b", code))
                wrong += [f"{inside}: `{name}` reads the environment" for name in sorted(asked)]
            if crate.name != "cli" and re.search(r"\(\s*clippy::print_std(?:out|err)", code):
                wrong.append(f"{inside}: allows itself to print")
    return wrong


Rule = Callable[[Path], list[str]]
RULES: list[Rule] = [floors, reading_order, header_lines, telling_names, sizes, no_elsewhere, purity]


# --- held against this project --------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_this_project_keeps(rule: Rule) -> None:
    assert rule(ROOT) == []


# --- seen to fail ---------------------------------------------------------------------------------

GOOD = {
    "rust/core/Cargo.toml": '[package]\nname = "dirigent-core"\n',
    "rust/core/src/lib.rs": "//! Good.\npub mod ids;\npub mod state;\npub use state::State;\n",
    "rust/core/src/ids.rs": "//! Not std::fs.\n#[cfg(test)]\nmod tests {\n use crate::state;\n}\n",
    "rust/core/src/state.rs": "//! State.\nmod rows;\nmod fold;\nuse crate::{ids::{self, Id}};\n",
    "rust/core/src/state/rows.rs": "//! Rows.\nuse crate::ids;\nuse std::time::Duration;\n",
    "rust/core/src/state/fold.rs": "//! Fold.\nuse super::rows;\n",
    "rust/engine/Cargo.toml": '[dependencies]\ndirigent-core = "1"\n[dev-dependencies]\ndirigent-cli = "1"\n',
    "rust/cli/Cargo.toml": '[dependencies]\ndirigent-engine = "1"\n',
    "rust/cli/src/lib.rs": "//! Words.\nfn f() { std::env::var(1); }\n",
    "python/dirigent/__init__.py": '"""Good."""\n',
    "README.md": "See <https://doc.rust-lang.org/> and target/work/root/.\n",
}


def plant(tree: dict[str, str], root: Path) -> Path:
    """Write a small project."""
    for name, text in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_tree_keeps(rule: Rule, tmp_path: Path) -> None:
    assert rule(plant(GOOD, tmp_path)) == []


IDS, ROWS, ENGINE = "rust/core/src/ids.rs", "rust/core/src/state/rows.rs", "rust/engine/src/lib.rs"

BROKEN: list[tuple[Rule, str, str, str]] = [
    (floors, "rust/core/Cargo.toml", '[dependencies]\ndirigent-engine = "1"', "core uses engine"),
    (floors, "rust/process/Cargo.toml", '[dependencies.dirigent-report]\npath = "x"', "process uses report"),
    (floors, "rust/engine/Cargo.toml", '[target.x.dependencies]\ndirigent-py = "1"', "engine uses py"),
    (floors, "rust/core/Cargo.toml", '[build-dependencies]\ndirigent-cli = "1"', "core uses cli"),
    (floors, "rust/attic/Cargo.toml", "[package]", "rust/attic has no floor"),
    (reading_order, IDS, "//! x\nuse crate::state::State;", "`ids` uses `state`"),
    (reading_order, IDS, "//! x\nuse crate::{fault, state::{self}};", "`ids` uses `state`"),
    (reading_order, IDS, "//! x\nfn f(s: &'a crate::State) {}", "`ids` uses `state`"),
    (reading_order, IDS, "//! x\nuse super::state;", "`ids` uses `state`"),
    (reading_order, ROWS, "//! x\nuse super::fold::Fold;", "`rows` uses `fold`"),
    (reading_order, ROWS, "//! x\nuse crate::state::fold;", "`rows` uses `fold`"),
    (header_lines, IDS, "pub struct Id;", "first line"),
    (header_lines, "python/dirigent/run.py", "import os\n", "first line"),
    (header_lines, "examples/empty.py", "", "first line"),
    (telling_names, "python/dirigent/utils.py", '"""x"""', "`utils` says nothing"),
    (telling_names, "rust/core/src/helpers/ids.rs", "//! x", "`helpers` says nothing"),
    (telling_names, IDS, "//! x\nmod misc { }", "`misc` says nothing"),
    (sizes, IDS, "//! x\n" * 601, "601 lines"),
    (no_elsewhere, "README.md", "see https://crates" + ".io/x", "README.md:1: mentions"),
    (no_elsewhere, "docs/a.md", "x\nin /" + "work/main", "docs/a.md:2: mentions"),
    (no_elsewhere, ".ci/run", "cd /" + "root/x", ".ci/run:1: mentions"),
    (purity, IDS, "//! x\nuse std::fs;", "`std::fs`"),
    (purity, IDS, "//! x\nuse std::{fmt, time::{Duration, SystemTime}};", "`std::time::SystemTime`"),
    (purity, IDS, "//! x\nfn f() { std::thread::sleep(d) }", "`std::thread::sleep`"),
    (purity, ENGINE, "//! x\nuse std::env;\nfn f() { env::var_os(1) }", "reads the environment"),
    (purity, ENGINE, "//! x\nuse std::env::{self, var};", "reads the environment"),
    (purity, ENGINE, "//! x\n#![allow(clippy::print_stdout)]", "allows itself to print"),
]


@pytest.mark.parametrize(
    ("rule", "name", "text", "complaint"),
    BROKEN,
    ids=[f"{case[0].__name__}-{number}" for number, case in enumerate(BROKEN)],
)
def test_a_broken_tree_is_seen(rule: Rule, name: str, text: str, complaint: str, tmp_path: Path) -> None:
    found = rule(plant({**GOOD, name: text}, tmp_path))
    assert any(complaint in line for line in found), found


def test_every_rule_is_seen_to_fail() -> None:
    assert {rule for rule, *_ in BROKEN} == set(RULES)

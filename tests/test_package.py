"""What is installed: the wheel holds all that a run without the checkout needs, the lock what pyproject.toml asks."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirement(text: str) -> tuple[str, frozenset[str], str]:
    """A requirement's name, its extras, and the versions that it allows."""
    name, extras, versions = re.fullmatch(r"([\w.-]+)(?:\[([^]]*)\])?(.*)", text).groups()  # type: ignore[union-attr]
    return name.lower().replace("_", "-"), frozenset(filter(None, (extras or "").split(","))), versions.strip()


def test_the_lock_holds_what_is_required() -> None:
    """`uv lock` writes it."""
    locked = tomllib.loads((ROOT / "uv.lock").read_text())
    assert locked["requires-python"] == PROJECT["requires-python"]
    (own,) = [package for package in locked["package"] if package["name"] == "raywce"]
    wanted = {(requirement(text), "") for text in PROJECT["dependencies"]}
    for extra, texts in PROJECT["optional-dependencies"].items():
        wanted |= {(requirement(text), extra) for text in texts}
    found = {
        (
            (one["name"], frozenset(one.get("extras", [])), one.get("specifier", "")),
            "".join(re.findall(r"extra == '([\w-]+)'", one.get("marker", ""))),
        )
        for one in own["metadata"]["requires-dist"]
    }

    def parts(of: set[tuple[tuple[str, frozenset[str], str], str]]) -> set[tuple[object, ...]]:
        return {(name, extras, frozenset(versions.split(",")), extra) for (name, extras, versions), extra in of}

    assert parts(found) == parts(wanted)


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package_and_the_experiment_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = tmp_path.glob("raywce-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    listed = ["git", "ls-files", "raywce", "search_spaces"]
    tracked = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert held == {name.replace("search_spaces/", "raywce/search_spaces/") for name in tracked}

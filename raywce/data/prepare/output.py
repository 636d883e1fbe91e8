"""The output folder of `prepare`: one run at a time, one choice of settings, no half files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from raywce.data.schema import SPLITS
from raywce.errors import fail

WORK = ".prepare"  # in the output folder: settings, plan, and the records of finished shards
RESULT = "prepared.json"
REJECTED = "rejected.parquet"


@contextmanager
def output(out: Path, settings: dict[str, Any], overwrite: bool) -> Iterator[Path]:
    """Claim `out` for these settings; gives its work folder. Half-written files go when it ends, however it does.

    Raises:
        InputError: `out` holds something else, was prepared with other settings, or another run is at it.
    """
    if out.exists() and not out.is_dir():
        fail("--out", "must be a folder", out)
    if out.is_dir() and any(out.iterdir()) and not (out / WORK).is_dir():
        fail("--out", "must be new, empty or written by prepare", out, "Choose another folder.")
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "lock", timeout=0):
            _claim(out, settings, overwrite)
            try:
                yield work
            finally:
                _remove(out.rglob(".*.partial"))
    except Timeout:
        fail("--out", "must not be in use by another prepare", out)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, in place only when whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def remove_strangers(out: Path, records: set[Path]) -> None:
    """Remove shards that these records don't stand for: left by a run over rows that are gone."""
    for split in SPLITS:
        _remove(file for file in (out / split).glob("*/*.parquet") if _record(out, file) not in records)
        _remove(file for file in (out / WORK / split).glob("*/*.json") if file not in records)
        for folder in (out / split, out / WORK / split):
            _remove_empty([*folder.glob("*"), folder])


def _record(out: Path, file: Path) -> Path:
    return out / WORK / file.relative_to(out).with_suffix(".json")


def _claim(out: Path, settings: dict[str, Any], overwrite: bool) -> None:
    file = out / WORK / "settings.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else settings
    if overwrite:
        for split in SPLITS:
            shutil.rmtree(out / split, ignore_errors=True)
            shutil.rmtree(out / WORK / split, ignore_errors=True)
    elif before != settings:
        changed = ", ".join(name for name in settings if settings[name] != before.get(name))
        do = "Choose another folder, or start afresh with --overwrite."
        fail("--out", "must have been prepared with the same settings", f"other {changed} in {out}", do)
    _remove([out / RESULT, out / REJECTED])
    write_json(file, settings)


def _remove(files: Iterable[Path]) -> None:
    for file in list(files):
        file.unlink(missing_ok=True)


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

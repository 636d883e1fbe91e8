"""The search's Optuna study in a file, for a resumed search and for Optuna's own tools."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

_logger = logging.getLogger(__name__)


def open_journal(path: Path) -> JournalStorage:
    """Return the study's storage, repaired where a full disk or a kill left it torn; the folder must be held.

    A last line without its end is cut off: its content comes again from the table. A file that can't be read at
    all is renamed to `<name>.broken`, and the study is made again from the table.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # of a killed command
    if path.exists():
        whole = path.read_bytes().rfind(b"\n") + 1
        if whole < path.stat().st_size:
            os.truncate(path, whole)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError) as error:
        broken = path.with_name(f"{path.name}.broken")
        _logger.warning("%s can't be read (%s); it is now %s", path, error, broken.name)
        path.replace(broken)
        return JournalStorage(JournalFileBackend(str(path)))

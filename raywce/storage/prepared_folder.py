"""What `raywce prepare` writes beside the splits of its output folder."""

from __future__ import annotations

from raywce.storage.files import exists

PREPARED, REJECTED = "prepared.json", "rejected.parquet"  # what it counted, last of all, and what it left out
WORK = ".prepare"  # settings, plan, and the records of finished shards
UNFINISHED = ("must be whole: raywce prepare was interrupted, or still writes into it", "Run the same prepare again")
"""The rule that an unfinished folder breaks, and what to do."""


def is_unfinished(folder: str) -> bool:
    """Return whether `prepare` began to write a folder (a path or URI), and has not come to its end."""
    return exists(f"{folder}/{WORK}") and not exists(f"{folder}/{PREPARED}")

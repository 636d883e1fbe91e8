"""What `raywce prepare` writes beside the splits of its output folder."""

from __future__ import annotations

from raywce.storage.files import exists

PREPARED, REJECTED = "prepared.json", "rejected.parquet"  # what it counted, last of all, and what it left out
WORK = ".prepare"  # settings, plan, and the records of finished shards
UNFINISHED = ("must be whole: raywce prepare was interrupted, or still writes into it", "Run the same prepare again")
"""The rule that an unfinished folder breaks, and what to do."""

WINDOW_SLACK_S = 0.5 / 16_000
"""Half a sample: what rounding may add to a duration that fills a model's window."""


def window_rule(part: str, seconds: float) -> tuple[str, str]:
    """Return the rule that speech to be decoded keeps, as it is not left out as in training, and what to do else."""
    rule = f"utterances of {part} must be at most {seconds:g} s long, the window of the model"
    return rule, f"Prepare with --max-seconds {seconds:g}, or take another model"


def is_unfinished(folder: str) -> bool:
    """Return whether `prepare` began to write a folder (a path or URI), and has not come to its end."""
    return exists(f"{folder}/{WORK}") and not exists(f"{folder}/{PREPARED}")

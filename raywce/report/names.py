"""Short names of searched keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return the last part of each key path; the path without its section where two end alike."""
    known = list(dict.fromkeys(paths))
    ends = Counter(path.rpartition(".")[2] for path in known)
    return {
        path: end if ends[end := path.rpartition(".")[2]] == 1 else path.partition(".")[2] or path for path in known
    }

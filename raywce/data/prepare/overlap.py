"""Speakers and sentences that stand in more than one split of a language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import combinations


def shared(values: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Count the distinct values that two splits share, for each pair of splits (`dev+test`).

    Values are held as 8-byte digests, so that memory stays small for a large corpus.
    """
    digests: dict[str, set[bytes]] = defaultdict(set)
    for split, entries in values.items():
        digests[split].update(blake2b(entry.encode(), digest_size=8).digest() for entry in entries)
    pairs = combinations(digests, 2)
    return {f"{one}+{other}": len(digests[one] & digests[other]) for one, other in pairs}

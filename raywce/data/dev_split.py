"""Parts of a dev split, by speaker: what the search decodes, and what is kept back for its confirmation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from raywce.data.store import Utterances

Part = Literal["all", "search", "confirm"]


def in_part(part: Part, share: float, ids: Sequence[str], speakers: Sequence[str | None]) -> list[int]:
    """Return the positions of the utterances of one language that belong to `part`.

    Whole speakers are kept back, in an order that only their names decide, up to the share of utterances that comes
    nearest; one at least on either side. Where fewer than two are known, utterances take the speakers' place.

    Args:
        part: `all`, or one of the two that have no utterance in common and are all of it together.
        share: of utterances, for `confirm`.
        ids: of the utterances.
        speakers: of the utterances, None where unknown; an unknown one is each time another.
    """
    if part == "all":
        return list(range(len(ids)))
    by_speaker = len(set(speakers) - {None}) > 1
    groups = [
        f"speaker {name}" if by_speaker and name is not None else f"utterance {id_}"
        for id_, name in zip(ids, speakers, strict=True)
    ]
    kept = _kept_back(Counter(groups), share)
    return [position for position, group in enumerate(groups) if (group in kept) == (part == "confirm")]


def indices_in(dev: Utterances, part: Part, share: float) -> list[list[int]]:
    """Return the indices of the utterances of a part of dev, by language; as `in_part` otherwise."""
    chosen: list[list[int]] = []
    for indices in dev.ranges.values():
        ids, speakers = dev.ids[indices.start : indices.stop], dev.speakers[indices.start : indices.stop]
        chosen.append([indices[position] for position in in_part(part, share, ids, speakers)])
    return chosen


def _kept_back(sizes: Counter[str], share: float) -> set[str]:
    wanted, so_far = share * sizes.total(), 0
    kept: set[str] = set()
    order = sorted(sizes, key=lambda group: hashlib.sha256(group.encode()).digest())
    for group in order[:-1]:
        if kept and so_far + sizes[group] / 2 > wanted:
            break
        kept.add(group)
        so_far += sizes[group]
    return kept

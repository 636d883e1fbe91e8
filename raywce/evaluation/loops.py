"""Loops of decoding: a phrase that is repeated until the bound on new tokens ends it."""

from __future__ import annotations

from collections.abc import Sequence

FEWEST_REPEATS = 4
LEAST_SHARE = 0.5  # of the text, that the repeats make up
FEWEST_TO_STOP = 8
LEAST_TO_STOP = 0.5  # of the bound on new tokens
_CUT = "\ufffd"  # what a token decodes to whose character the bound cut off


def is_loop(text: str, truncated: bool) -> bool:
    """Return whether decoding ran in a loop.

    It did where it hit the bound on new tokens, and at least half of the text, up to its end, is one phrase at least
    four times in a row. People who repeat a word come to an end; a loop does not.

    Args:
        text: the hypothesis, as it was decoded.
        truncated: whether the bound was hit before the end token.
    """
    text = text.rstrip(_CUT)
    return truncated and repeated_tail(text) >= LEAST_SHARE * len(text) > 0


def is_endless(tokens: Sequence[int], bound: int) -> bool:
    """Return whether decoding need not continue: a phrase eight times in a row, and as long as half of the bound.

    Half of the bound (`raywce.evaluation.decode.TokenBound`) is more than most speech takes for everything that is
    said. Who says one phrase for half of an utterance of 30 seconds may be stopped, in a language whose words take
    many tokens.
    """
    least = LEAST_TO_STOP * bound
    return len(tokens) >= least and repeated_tail(tokens, FEWEST_TO_STOP) >= least


def repeated_tail(text: Sequence[object], repeats: int = FEWEST_REPEATS) -> int:
    """Return how much of the end is one phrase, repeated so often or more; the last time may be cut.

    Args:
        text: characters or tokens.
        repeats: the fewest that count.
    """
    longest = 0
    for period in range(1, len(text) // repeats + 1):
        same = 0
        while same < len(text) - period and text[-1 - same] == text[-1 - same - period]:
            same += 1
        if same + period >= repeats * period:
            longest = max(longest, same + period)
    return longest

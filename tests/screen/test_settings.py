from __future__ import annotations

import pytest

from raywce.screen.settings import show_settings
from raywce.selection.settings import Setting, compared
from tests.screen.readable import LANGUAGES, check, printed

LOW, HIGH, WATCHED = LANGUAGES.values()
ALL = [*LOW, *HIGH, *WATCHED]


def rows(lacking: int = 0) -> list[Setting]:
    runs = [dict.fromkeys(ALL, 0.2 + 0.01 * seed) for seed in range(3)]
    names = (
        "linear progressive, all languages, learning_rate 1e-05, encoder_context_margin 0.5, augmentation.copies all",
        "constant, none",
    )
    settings = {names[0]: runs, names[1]: runs[: 3 - lacking]}
    return compared(dict.fromkeys(ALL, 1.25), runs, settings, LOW, HIGH, WATCHED)


def test_the_tables_can_be_read_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, lambda: show_settings(rows(), "WER", WATCHED))
    check(
        lines,
        "WER in %, mean ± standard deviation over 3 seeds; *: watched",
        "it* 21.00 ± 1.00",
        "watched -83.20 +0.00",
        "original ast 125.00",
        "linear progressive, ast 21.00 ± 1.00",
        "all languages, gl 21.00 ± 1.00",
        "setting languages from original from baseline",
        "linear progressive, ast -83.20 +0.00",
        "pt 21.00 ± 1.00",
    )


def test_a_setting_that_lacks_a_seed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    check(printed(monkeypatch, lambda: show_settings(rows(lacking=1), "WER")), "(2 of 3 seeds)")


def test_both_kinds_of_rates_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = {language: "CER" if language == "yue" else "WER" for language in ALL}
    lines = printed(monkeypatch, lambda: show_settings(rows(), "capped WER or CER", WATCHED, marks))
    check(
        lines,
        "setting language WER or CER",
        "original ast WER 125.00",
        "yue CER* 21.00 ± 1.00",
        "Mean of the relative changes of the capped WER or CER in %",
    )

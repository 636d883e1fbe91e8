from __future__ import annotations

import pytest

from raywce.screen.console import plain_table, show_fields, show_notes, show_table
from tests.screen.readable import check, printed


def test_a_table_has_words_on_the_left_and_figures_on_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    table = plain_table("language", "WER", "limit", text=("limit",))
    table.add_row("gl", "9.50", "holds")
    table.add_row("ast", "110.25", "")
    lines = printed(monkeypatch, lambda: show_table("WER in %", table))
    assert [line.rstrip() for line in lines] == [
        "WER in %",
        "language     WER  limit",
        "gl          9.50  holds",
        "ast       110.25",
        "",
    ]


def test_a_table_that_is_too_wide_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    table = plain_table("path", "more")
    table.add_row("x" * 70, "y" * 30)
    lines = printed(monkeypatch, lambda: show_table("wide", table))
    assert f"{'x' * 70}  {'y' * 30}" in lines


def test_only_cells_that_may_are_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    table = plain_table("trial", "WER", wrapped=("trial",))
    table.add_row(", ".join(["search-000-fe223b"] * 6), "12.34")
    check(printed(monkeypatch, lambda: show_table("means", table)), "12.34")


def test_a_long_field_continues_below_itself_and_its_words_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/" + "long-path/" * 9
    fields = [("disk", "a text of some words " * 5), ("storage", path)]
    lines = printed(monkeypatch, lambda: show_fields(fields))
    assert lines[0].startswith("disk     a text")
    assert lines[1].startswith("         ")
    assert lines[-1].endswith(path)


def test_of_many_notes_two_are_printed_and_the_others_counted(capsys: pytest.CaptureFixture[str]) -> None:
    show_notes(["one", "two"])
    assert capsys.readouterr().out == "one\ntwo\n"
    show_notes([str(number) for number in range(9)])
    assert capsys.readouterr().out == "0\n1\nand 7 more such notes, in the report and in outcome.json\n"


def test_a_name_with_brackets_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    table = plain_table("setting", "[b]")
    table.add_row("LP [paper]", "[/paper]")
    assert [line.split() for line in printed(monkeypatch, lambda: show_table("means", table))][1:3] == [
        ["setting", "[b]"],
        ["LP", "[paper]", "[/paper]"],
    ]

from __future__ import annotations

from pathlib import Path

import pytest

from raywce.data.prepare.summary import Reason
from raywce.data.prepare.tables import column_names, read_records


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_tsv_has_quoting_off_and_null_is_a_word(tmp_path: Path) -> None:
    text = 'path\tsentence\na.mp3\t"Abre sen fin\nb.mp3\tnull\nc.mp3\tNA\nd.mp3\t"todo"\ne.mp3\n'
    records = list(read_records(write(tmp_path / "train.tsv", text)))
    assert [record.fields["sentence"] for record in records] == ['"Abre sen fin', "null", "NA", '"todo"', ""]
    assert not any(record.broken for record in records)


def test_tsv_row_with_a_tab_too_many(tmp_path: Path) -> None:
    records = list(read_records(write(tmp_path / "a.tsv", "path\tsentence\na.mp3\tun\tdous\nb.mp3\ttres\n")))
    assert records[0].broken
    assert records[0].broken[0] is Reason.MALFORMED_ROW
    assert records[1].fields == {"path": "b.mp3", "sentence": "tres"}


HEADER = "file_name,text,language\n"


@pytest.mark.parametrize(
    ("body", "texts", "broken"),
    [
        ('a.wav,"Ola, mar",gl\nb.wav,"Di ""si""",gl\n', ["Ola, mar", 'Di "si"'], {}),
        ('a.wav,"dúas\nliñas",gl\nb.wav,sol,gl\n', ["dúas\nliñas", "sol"], {}),
        ('a.wav,"sen fin,gl\nb.wav,"sol, lúa",gl\n', ['"sen fin', "sol, lúa"], {}),
        ('a.wav,"sen fin,gl\nb.wav,sol,gl\nc.wav,fin",gl\n', ['"sen fin', "sol", 'fin"'], {}),
        ('a.wav,"sen, fin,gl\nb.wav,sol,gl\n', [None, "sol"], {0: Reason.UNBALANCED_QUOTE}),
        ('a.wav,sol,gl\nb.wav,"sen, fin,gl', ["sol", None], {1: Reason.UNBALANCED_QUOTE}),
        ("a.wav,un,gl,máis\nb.wav,sol,gl\n", [None, "sol"], {0: Reason.MALFORMED_ROW}),
    ],
)
def test_csv_quotes_stay_in_their_row(
    tmp_path: Path, body: str, texts: list[str | None], broken: dict[int, Reason]
) -> None:
    records = list(read_records(write(tmp_path / "metadata.csv", HEADER + body)))
    assert {i: record.broken[0] for i, record in enumerate(records) if record.broken} == broken
    assert [None if record.broken else record.fields["text"] for record in records] == texts


def test_an_unbalanced_quote_is_marked(tmp_path: Path) -> None:
    body = 'a.wav,"sen fin,gl\nb.wav,sol,gl\n'
    records = list(read_records(write(tmp_path / "metadata.csv", HEADER + body)))
    assert [record.unbalanced_quote for record in records] == [True, False]


def test_json_lines(tmp_path: Path) -> None:
    text = '{"text": "un\\u2028dous"}\nnot json\n[1]\n{"text": "tres"}\n'
    records = list(read_records(write(tmp_path / "a.jsonl", text)))
    assert [bool(record.broken) for record in records] == [False, True, True, False]
    assert records[0].fields["text"] == "un\u2028dous"


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize(
    ("text", "texts", "broken"),
    [
        ('[{"text": "un"}, {"text": "dous"}]', ["un", "dous"], []),
        ('\ufeff \n[\n {"text":\n "un"}\n,{"text": "]"}\n]\n', ["un", "]"], []),
        ("[]", [], []),
        ('[{"text": "un"}, 7, ["x"], {"text": "dous"}]', ["un", "dous"], [2, 3]),
        ('[{"text": "un"}, {"text": "do', ["un"], [2]),
        ('[{"text": "un"}', ["un"], [2]),
        ('[{"text": "un"}]\n{"text": "dous"}', ["un"], [2]),
        ('[{"text": "un"} {"text": "dous"}]', ["un", "dous"], []),
        ("[" * 100_000, [], [1]),
    ],
)
def test_one_json_array(tmp_path: Path, suffix: str, text: str, texts: list[str], broken: list[int]) -> None:
    records = list(read_records(write(tmp_path / f"a{suffix}", text)))
    assert [record.fields["text"] for record in records if not record.broken] == texts
    assert [record.number for record in records if record.broken] == broken


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_one_json_array_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    text = '[{"Text": "mañá"},\n {"Text": "nan"}]'.encode(encoding)
    records = list(read_records(write(tmp_path / "a.json", text)))
    assert [record.fields for record in records] == [{"text": "mañá"}, {"text": "nan"}]


def test_json_that_is_nested_too_deep_is_a_broken_row(tmp_path: Path) -> None:
    text = '{"text": ' + "[" * 100_000 + '\n{"text": "un"}\n'
    assert [bool(record.broken) for record in read_records(write(tmp_path / "a.jsonl", text))] == [True, False]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.CSV", "path,text\n", []),
        ("a.csv", "path,text\nx,un,dous\n", ["path", "text"]),
        ("a.jsonl", 'no\n{"path": "x"}\n', ["path"]),
        ("a.json", "{\n}\n", []),
        ("a.json", '[1, {"path": "x"}]', ["path"]),
    ],
)
def test_column_names(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    assert column_names(write(tmp_path / name, text)) == expected


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".csv"])
def test_what_is_not_utf8_is_broken(tmp_path: Path, suffix: str) -> None:
    rows = {
        ".tsv": b"path\ttext\na\t\xe1\nb\tsi\n",
        ".csv": b"path,text\na,\xe1\nb,si\n",
        ".jsonl": b'{"path": "a", "text": "\xe1"}\n{"path": "b", "text": "si"}\n',
    }
    records = list(read_records(write(tmp_path / f"a{suffix}", rows[suffix])))
    assert [record.broken[0] if record.broken else None for record in records] == [Reason.NOT_UTF8, None]
    records[0].fields["text"].encode()  # can be written

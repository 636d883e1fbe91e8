from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raywce.cli import app
from raywce.errors import InputError
from raywce.experiment.load import ExperimentFile, load
from raywce.experiment.starters import OWN_SPEECH, find_speech, names, starter
from tests.experiment.example import write_example
from tests.tiny_corpus import write_tiny_corpus

SHIPPED = Path(__file__).parents[2] / "search_spaces"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["init", *map(str, arguments)])
    if result.exception:
        raise result.exception
    return result.stdout


def test_all_shipped_files_are_listed_with_what_they_are() -> None:
    assert {name.replace("-", "_") for name in names()} == {file.stem for file in SHIPPED.glob("*.yaml")}
    assert all(about.endswith(".") and len(about) > 40 for about in names().values())
    listed = " ".join(run().split())
    assert all(f"{name} {about}" in listed for name, about in names().items())


@pytest.mark.parametrize("name", [file.stem.replace("_", "-") for file in sorted(SHIPPED.glob("*.yaml"))])
def test_a_starter_file_is_the_shipped_one_with_its_own_path_in_its_commands(name: str, tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    assert f"raywce validate {out}" in run(name, "--out", out)
    text = out.read_text()
    assert f"raywce validate {out}" in text
    assert "search_spaces/" not in re.sub("search_spaces/README.md", "", text)
    shipped = load(SHIPPED / f"{name.replace('-', '_')}.yaml", check_files=False)
    assert load(out, check_files=False).resolved_yaml() == shipped.resolved_yaml()


def test_no_file_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("turbo-lora")
    text = Path("turbo_lora.yaml").read_text()
    with pytest.raises(InputError, match=r"--out: must be a new file, but got turbo_lora\.yaml"):
        run("turbo-lora")
    assert Path("turbo_lora.yaml").read_text() == text


def test_what_there_is_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"NAME: must be a starter file, but got turbo\. Known: ablation, .*turbo-lora"
    ):
        run("turbo")
    write_tiny_corpus(tmp_path, {"gl": 2}, {"gl": 2})
    with pytest.raises(InputError, match="--data: must come with own-speech"):
        run("galician", "--data", tmp_path)
    with pytest.raises(InputError, match=r"--data: must hold train/<language> and dev/<language>.*none of its folders"):
        run(OWN_SPEECH, "--data", tmp_path / "nowhere")
    shutil.rmtree(tmp_path / "dev")
    with pytest.raises(InputError, match=r'--data: .*"train": \["gl"\]'):
        run(OWN_SPEECH, "--data", tmp_path)


def filled(folder: Path, tmp_path: Path, checkpoint: Path) -> ExperimentFile:
    out = tmp_path / "own.yaml"
    out.write_text(starter(OWN_SPEECH, out, find_speech(folder)))
    # What this machine lacks is no error.
    return load(out, [f"model.checkpoint={checkpoint}", f"data.cache={tmp_path}/cache"], allow_absent=True)


def test_languages_and_splits_are_filled_in(tmp_path: Path) -> None:
    checkpoint = write_example(tmp_path / "example").parent / "whisper"
    folder = write_tiny_corpus(tmp_path / "speech", {"gl": 3, "es": 9, "ast": 6}, {"gl": 3, "es": 3, "ast": 3, "en": 3})
    loaded = filled(folder, tmp_path, checkpoint)
    languages = loaded.experiment.languages
    assert (languages.low_resource, languages.high_resource, languages.watched) == (["gl"], ["es", "ast"], ["en"])
    assert languages.new_tokens == {"ast": "es"}, "the high-resource language with the most speech"
    assert loaded.experiment.search.confirm.test
    assert loaded.experiment.data.folder == str(folder)
    assert loaded.experiment.search.constraints.languages == {}
    assert loaded.trials == 27


def test_a_folder_s_name_is_written_as_it_is(tmp_path: Path) -> None:
    checkpoint = write_example(tmp_path / "example").parent / "whisper"
    folder = write_tiny_corpus(tmp_path / "prep🎤 ñ", {"gl": 3, "es": 3}, {"gl": 3, "es": 3})
    assert filled(folder, tmp_path, checkpoint).experiment.data.folder == str(folder)


def test_one_language_without_test_is_searched_without_both(tmp_path: Path) -> None:
    checkpoint = write_example(tmp_path / "example").parent / "whisper"
    folder = write_tiny_corpus(tmp_path / "speech", {"gl": 3}, {"gl": 3})
    shutil.rmtree(folder / "test")
    loaded = filled(folder, tmp_path, checkpoint)
    assert (loaded.experiment.languages.all, loaded.experiment.search.confirm.test) == (["gl"], False)
    assert "weighting.adaptive" not in loaded.space


def test_each_language_without_a_token_gets_one_or_borrows_one(tmp_path: Path) -> None:
    checkpoint = write_example(tmp_path / "example").parent / "whisper"
    codes = ["ast", "arg", "mwl", "pt-BR"]
    folder = write_tiny_corpus(
        tmp_path / "speech", {"es": 9, **dict.fromkeys(codes, 3)}, {"es": 3, **dict.fromkeys(codes, 3)}
    )
    languages = filled(folder, tmp_path, checkpoint).experiment.languages
    assert languages.new_tokens == {"ast": "es", "arg": "es", "mwl": "es"}
    assert languages.borrowed_tokens == {"pt-BR": "es"}, "no code that a token can have"


def test_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_tiny_corpus(tmp_path / "speech", {"gl": 3, "es": 3}, {"gl": 3, "es": 3})
    shutil.rmtree(folder / "dev" / "es")
    result = CliRunner().invoke(app, ["init", "--data", str(folder)])  # own-speech, as it takes speech
    assert result.exit_code == 0
    assert "warning: left out, as they have no dev split: es" in result.stderr
    assert "high_resource: []" in Path("own_speech.yaml").read_text()
    with pytest.raises(InputError, match="NAME: must say which file to write"):
        run("--out", "mine.yaml")

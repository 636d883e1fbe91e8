from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.experiment.load import ExperimentFile
from raywce.runs.folder import RunFolder
from raywce.runs.tables import Trial, TrialTable
from raywce.search.power import power_lines, power_of
from raywce.selection.trials import BASELINE, COMPLETE
from tests.search import surrogate

SPEAKERS = 40


def file_of(tmp_path: Path, *overrides: str) -> ExperimentFile:
    """A file whose dev split has 400 utterances of ten words a language, by forty speakers."""
    speech = tmp_path / "speech"
    for language in ("gl", "es", "pt"):
        folder = speech / "dev" / language
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {"id": f"{language}-{number}", "speaker": f"{language}-{number % SPEAKERS}", "text": "un " * 10}
            for number in range(400)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "0.parquet")
    return surrogate.load_file(tmp_path, f"data.folder={speech}", "search.confirm.candidates=3", *overrides)


def test_it_is_said_in_words_with_what_is_assumed(tmp_path: Path) -> None:
    file = file_of(tmp_path, "search.constraints.absolute_floor=5")
    found = power_of(file)
    assert found is not None
    assert found.too_narrow == []
    words, assumed = power_lines(file, found)
    points, chance = min(found.chances.items(), key=lambda one: abs(one[1] - 0.7))
    assert words == (
        f"a setting that truly lowers gl by {points:g} points and makes no other language worse is confirmed by "
        f"held-out speech in about {round(10 * chance)} of 10 searches, one that lowers it by {found.gain:.1f} in 8"
    )
    assert assumed == "(assumed: WERs of 20 %, 3 % of it between trainings, 10 % between a setting's speakers)"


def test_a_limit_that_dev_does_not_resolve_is_a_warning(tmp_path: Path) -> None:
    file = file_of(tmp_path, "search.constraints.absolute_floor=0.2")
    found = power_of(file)
    assert found is not None
    assert found.too_narrow == ["es", "pt"]
    assert found.gain is None
    warning = power_lines(file, found)[1]
    assert warning.startswith("limits in points below what dev resolves: es 0.2 (resolved: ")
    assert warning.endswith("; widen them, record more speakers, or confirm over more seeds")


def test_more_of_dev_and_more_seeds_resolve_more(tmp_path: Path) -> None:
    found = [
        power_of(file_of(tmp_path, *overrides))
        for overrides in ([], ["search.confirm.dev_share=0.9"], ["search.confirm.seeds=12"])
    ]
    resolved = [one.resolved["es"] for one in found if one]
    assert resolved[0] > max(resolved[1:])


def test_the_baselines_wers_count_once_they_are_known(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    table = TrialTable(file.space, file.experiment.languages)
    trial = Trial(BASELINE, "baseline-0", 0, {})
    table.record(trial, surrogate.report(file.experiment, 20, {"gl": 0.4, "es": 0.1, "pt": 0.05}))
    table.finish(trial, COMPLETE)
    folder = RunFolder.of(file.experiment.storage, file.experiment.name)
    folder.open(file.resolved_yaml())
    before = power_of(file)
    table.write(folder)
    found = power_of(file)
    assert before is not None
    assert found is not None
    assert found.resolved["pt"] < found.resolved["es"] < before.resolved["es"]
    assert "WERs as the baseline's" in power_lines(file, found)[-1]


@pytest.mark.parametrize("overrides", [["search.confirm.candidates=0"], ["data.folder=/nowhere"]])
def test_without_a_confirm_phase_or_dev_nothing_is_said(tmp_path: Path, overrides: list[str]) -> None:
    assert power_of(file_of(tmp_path, *overrides)) is None


def test_speech_of_unknown_speakers_counts_by_the_utterance(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    known = power_of(file)
    for part in (tmp_path / "speech" / "dev").rglob("*.parquet"):
        table = pq.read_table(part)
        index = table.column_names.index("speaker")
        pq.write_table(table.set_column(index, "speaker", pa.nulls(len(table), pa.string())), part)
    found = power_of(replace(file))
    assert known is not None
    assert found is not None
    assert found.resolved["es"] < known.resolved["es"]


def test_speech_of_few_speakers_counts_by_the_utterance_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = power_of(file_of(tmp_path, "search.constraints.absolute_floor=5"))
    monkeypatch.setattr(f"{__name__}.SPEAKERS", 4)
    file = file_of(tmp_path, "search.constraints.absolute_floor=5")
    few = power_of(file)
    assert many is not None
    assert few is not None
    assert few.resolved["es"] < many.resolved["es"]
    said = "nothing is claimed about new speakers of gl, es, pt: fewer than 5 speakers are held out"
    assert said in power_lines(file, few)
    assert not any("new speakers" in line for line in power_lines(file, many))


def test_a_language_judged_by_its_cer_has_as_many_characters_as_its_texts(tmp_path: Path) -> None:
    by_words, by_characters = (power_of(file_of(tmp_path, f"evaluation.metric={unit}_raw")) for unit in ("wer", "cer"))
    assert by_words is not None
    assert by_characters is not None
    assert by_characters.resolved["es"] < by_words.resolved["es"], "29 characters are more than ten words"


def test_over_a_wer_and_a_cer_the_gain_is_a_share_of_the_baselines_rates(tmp_path: Path) -> None:
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    folder = tmp_path / "speech" / "dev" / "ja"
    file = file_of(tmp_path, languages, "evaluation.metric=auto", "search.constraints.absolute_floor=5")
    folder.mkdir()
    table = pq.read_table(folder.parent / "gl" / "0.parquet")
    pq.write_table(table, folder / "0.parquet")
    found = power_of(file)
    assert found is not None
    assert list(found.chances) == [5.0, 10.0, 20.0]
    words, assumed = power_lines(file, found)
    assert "truly lowers gl and ja by " in words
    assert " % of the baseline's rates on average and makes no other language worse" in words
    assert assumed.startswith("(assumed: WERs or CERs of 20 %, ")

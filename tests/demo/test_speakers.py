import hashlib
from pathlib import Path

import pytest

from raywce.data.schema import SPLITS
from raywce.demo.sentences import LANGUAGES
from raywce.demo.speakers import COUNTS, VARIANTS, VOICES, Speaker, speakers
from raywce.errors import InputError

GROUPS = [(language, split) for language in LANGUAGES for split in SPLITS]


def variant_of(speaker: Speaker) -> str:
    return speaker.voice.partition("+")[2]


def everyone() -> list[Speaker]:
    return [speaker for group in GROUPS for speaker in speakers(*group)]


def test_each_language_of_the_sentences_has_a_voice() -> None:
    assert set(VOICES) == set(LANGUAGES)
    assert set(VARIANTS) == set(COUNTS) == set(SPLITS)


def test_no_speaker_is_in_two_groups() -> None:
    identifiers = [speaker.id for speaker in everyone()]
    assert len(set(identifiers)) == len(identifiers) == len(LANGUAGES) * (40 + 20 + 20)


def test_no_variant_is_in_two_splits() -> None:
    spoken = {split: {variant_of(s) for language in LANGUAGES for s in speakers(language, split)} for split in SPLITS}
    assert [len(spoken[split]) for split in SPLITS] == [18, 6, 6]
    assert len(set.union(*spoken.values())) == 30


def test_no_two_speakers_of_a_group_are_the_same() -> None:
    for group in GROUPS:
        voices = {(speaker.voice, speaker.pitch, speaker.speed, speaker.peak) for speaker in speakers(*group)}
        assert len(voices) == COUNTS[group[1]]


def test_pitch_speed_and_level_stay_in_range_and_fill_it() -> None:
    heard = everyone()
    for values, low, high in [
        ([s.pitch for s in heard], 25, 75),
        ([s.speed for s in heard], 150, 200),
        ([s.peak for s in heard], -12, -3),
    ]:
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high


@pytest.mark.parametrize("split", SPLITS)
def test_women_and_men_speak_in_each_split(split: str) -> None:
    folder = Path(pytest.importorskip("espeakng_loader").__file__).parent / "espeak-ng-data" / "voices" / "!v"
    files = [folder / variant for variant in VARIANTS[split]]
    women = sum("gender female" in file.read_text(encoding="utf-8") for file in files)
    assert 0.25 * len(files) < women < 0.5 * len(files)


def test_speakers_stay_as_they_are_for_weights_are_trained_on_them() -> None:
    assert speakers("gl", "dev")[7] == Speaker(id="gl-dev-07", voice="an+belinda", pitch=74, speed=170, peak=-3.5)
    assert hashlib.sha256(repr(everyone()).encode()).hexdigest()[:16] == "c812542993e7c00d"


def test_an_unknown_language_or_split_is_an_error() -> None:
    with pytest.raises(InputError, match="language: must be one of es, pt, fr, de, en, gl, but got ca"):
        speakers("ca", "dev")
    with pytest.raises(InputError, match="split: must be one of train, dev, test, but got eval"):
        speakers("gl", "eval")

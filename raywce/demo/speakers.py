"""Who speaks the demo corpus: variants of espeak-ng's voices, each in one split only, at their own pitch and speed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from raywce.errors import fail

# espeak-ng has no Galician voice. Of its languages Aragonese comes nearest: x is ʃ, c before e and z are θ, ll is ʎ,
# and its five vowels stay full in every syllable. Spanish reads x as ks, Portuguese weakens vowels.
VOICES = {"es": "es", "pt": "pt", "fr": "fr", "de": "de", "en": "en", "gl": "an"}  # of Spain, Portugal, France, Britain

# Variants of which an untrained template matcher tells apart near-identical words; voices that whisper, croak, echo or
# play a robot are left out. Women first. Near relations (f2 and f5) are in one split.
VARIANTS = {
    "train": (
        *("Annie", "f2", "f5", "grandma", "steph"),
        *(
            "Alex",
            "Gene",
            "Mario",
            "adam",
            "ed",
            "edward",
            "grandpa",
            "iven4",
            "klatt2",
            "m3",
            "m8",
            "michel",
            "quincy",
        ),
    ),
    "dev": ("Andrea", "belinda", "Denis", "m7", "paul", "pedro"),
    "test": ("anika", "f1", "Reed", "m1", "robert", "sandro"),
}
COUNTS = {"train": 40, "dev": 20, "test": 20}  # speakers of a language in each split

_PITCH = (25, 75)
_SPEED = (150, 200)
_PEAK = (-12.0, -3.0)


@dataclass(frozen=True)
class Speaker:
    """One speaker of a language, in one split.

    Attributes:
        id: `gl-dev-07`.
        voice: espeak-ng's voice for the language and the variant of it (`an+m7`).
        pitch: 0 to 99, 50 is the variant's own.
        speed: words a minute.
        peak: the level of the loudest sample, dBFS.
    """

    id: str
    voice: str
    pitch: int
    speed: int
    peak: float


def speakers(language: str, split: str) -> tuple[Speaker, ...]:
    """The speakers of a language and split, always the same; variants take turns.

    Raises:
        InputError: no such language or split.
    """
    if language not in VOICES:
        fail("language", f"must be one of {', '.join(VOICES)}", language)
    if split not in VARIANTS:
        fail("split", f"must be one of {', '.join(VARIANTS)}", split)
    return tuple(_speaker(language, split, number) for number in range(COUNTS[split]))


def _speaker(language: str, split: str, number: int) -> Speaker:
    name = f"{language}-{split}-{number:02d}"
    random = Random(name)
    variants = VARIANTS[split]
    return Speaker(
        id=name,
        voice=f"{VOICES[language]}+{variants[number % len(variants)]}",
        pitch=random.randint(*_PITCH),
        speed=random.randint(*_SPEED),
        peak=round(random.uniform(*_PEAK), 1),
    )

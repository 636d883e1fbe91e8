"""What the model to take does where a test set of sentences does not look, beside baseline and original."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from raywce import numbers
from raywce.evaluation.rates import LanguageRates, rates_by_language
from raywce.evaluation.robustness import TRANSFORMERS, Robustness, robustness
from raywce.evaluation.writing import separates_words
from raywce.experiment.schema import RobustnessLimits

_DIGITS = 9  # of points: what is just allowed breaks nothing
# Measures by their keys in the experiment file's limits: what they are, of a rate, and whether more of it is worse.
MEASURES: Mapping[str, tuple[str, bool]] = {
    "nothing": ("clips of silence or noise with text", True),
    "sentences": ("{} of long-form speech, sentence by sentence", True),
    "long_form": ("{} of long-form speech, in one piece", True),
    "loops": ("utterances in a loop", True),
    "language_identification": ("utterances whose language is recognised", False),
    "timestamps": ("utterances with all time stamps", False),
}


@dataclass(frozen=True)
class Measures:
    """Shares and rates of one model and language, as fractions; None where not measured.

    Attributes:
        nothing: of the clips of silence and noise, those that it says something to.
        sentences: WER of long-form speech, its sentences decoded one by one; CER where words have no spaces.
        long_form: likewise, decoded in one piece by transformers.
        loops: of the test split's utterances, those whose decoding loops.
        language_identification: of them, those whose language token is the likeliest.
        timestamps: of them, those whose text has all of its time stamps.
    """

    nothing: float | None
    sentences: float | None
    long_form: float | None
    loops: float | None
    language_identification: float | None
    timestamps: float | None


@dataclass(frozen=True)
class RobustnessFigures:
    """Measures of the original, the baseline's model and the one to take.

    Attributes:
        models: by name and language, in that order.
        taken: the last one's name.
        broken: what it breaks of `search.constraints.robustness`, in words.
        unmeasured: the measures with a limit that no figure is there of, in words.
    """

    models: Mapping[str, Mapping[str, Measures]]
    taken: str
    broken: Sequence[str]
    unmeasured: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """Return what is broken, as a sentence; empty where nothing is."""
        return f"It breaks a limit of robustness: {'; '.join(self.broken)}." if self.broken else ""

    @property
    def rows(self) -> list[tuple[str, str, list[float | None]]]:
        """Return what is measured, the language, and the figures of the models, for each measure that there is."""
        found = []
        for key in MEASURES:
            for language in self.models[self.taken]:
                values = [getattr(of[language], key) for of in self.models.values()]
                if any(value is not None for value in values):
                    found.append((title(key, language), language, values))
        return found


def measures(test: pa.Table, hard_cases: pa.Table | None) -> dict[str, Measures]:
    """Return the measures of one model by language.

    Args:
        test: what it decoded of the test split.
        hard_cases: and of `raywce.evaluation.hard_cases`; None where that was not asked for.
    """
    hard = robustness(hard_cases) if hard_cases is not None else {}
    return {language: _measures(rates, hard.get(language)) for language, rates in rates_by_language(test).items()}


def title(key: str, language: str) -> str:
    """Return what a measure is, of a language."""
    return MEASURES[key][0].format("WER" if separates_words(language) else "CER")


def figures(
    models: Mapping[str, Mapping[str, Measures]], limits: RobustnessLimits, limited: Collection[str]
) -> RobustnessFigures:
    """Return the figures of models, and what the last one, the model to take, breaks beside the baseline's before it.

    Args:
        models: the original's, the baseline's and that one's, by name and language.
        limits: of `search.constraints.robustness`.
        limited: the languages that they hold for.
    """
    *_, baseline, taken = models
    broken, unmeasured = [], []
    for key, (_, more_is_worse) in MEASURES.items():
        allowed = getattr(limits, key, None)
        for language in limited if allowed is not None else ():
            before, after = (getattr(models[name].get(language), key, None) for name in (baseline, taken))
            if before is None or after is None:
                unmeasured.append(f"{language}: {title(key, language)}")
                continue
            worse = round(100 * (after - before) * (1 if more_is_worse else -1), _DIGITS)
            if worse > allowed:
                change = f"{numbers.percent(before)} → {numbers.percent(after)} %"
                over = f"by {worse:.1f} points worse where {allowed:g} are allowed"
                broken.append(f"{language}: {title(key, language)} {change}, {over}")
    return RobustnessFigures(models, taken, broken, unmeasured)


def _measures(rates: LanguageRates, hard: Robustness | None) -> Measures:
    long = hard.long.get(TRANSFORMERS) if hard and hard.pieces else None
    return Measures(
        nothing=hard.clips_with_text / hard.clips if hard and hard.clips else None,
        sentences=hard.sentences.rate if hard and long else None,
        long_form=long.rate if long else None,
        loops=rates.loops / rates.utterances if rates.utterances else None,
        language_identification=rates.language_identification_accuracy,
        timestamps=rates.time_stamps_whole,
    )

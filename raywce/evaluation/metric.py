"""The error rate that counts: of words or characters, of raw or normalised texts, capped by utterance or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from raywce.evaluation.writing import characters, separates_words

Name = Literal["wer_normalized", "wer_raw", "cer_normalized", "cer_raw", "auto"]
"""Values of `evaluation.metric`; `auto` is `cer_normalized` or `wer_normalized`, by language."""


@dataclass(frozen=True)
class Metric:
    """An error rate.

    Attributes:
        unit: `wer` or `cer`.
        text: `normalized` or `raw`.
        capped: an utterance has at most as many errors as its reference has words (or characters), so that a single
            one whose decoding ran away can't decide it.
    """

    unit: Literal["wer", "cer"]
    text: str
    capped: bool = False

    @property
    def counted(self) -> str:
        """What is counted: `words` or `characters`."""
        return {"wer": "words", "cer": "characters"}[self.unit]

    @property
    def name(self) -> str:
        """Its name without the cap, such as `wer_normalized`."""
        return f"{self.unit}_{self.text}"

    @property
    def group(self) -> str:
        """The name of its counts in `raywce.evaluation.utterances.COUNT_GROUPS`."""
        return f"{self.counted}_{self.text}"

    @property
    def field(self) -> str:
        """The name of its field of `raywce.evaluation.rates.LanguageRates`."""
        return f"{self.name}_capped" if self.capped else self.name

    @property
    def kind(self) -> str:
        """`WER` or `CER`."""
        return self.unit.upper()

    @property
    def label(self) -> str:
        """Its name in tables and sentences, such as `capped WER`."""
        return f"capped {self.kind}" if self.capped else self.kind

    def pieces(self, text: str, language: str) -> list[str]:
        """Return the words or characters of a text that are counted."""
        if self.unit == "wer":
            return text.split()
        return list(characters(text, spaces=self.text == "raw" or separates_words(language)))

    @property
    def plain(self) -> Metric:
        """The same rate, not capped."""
        return replace(self, capped=False)


@dataclass(frozen=True)
class Metrics:
    """The error rate of each language of an experiment, and the names that tables and sentences give them.

    Attributes:
        name: `evaluation.metric`.
        capped: as of `Metric`.
        low_resource: the languages whose rates are minimised.
        languages: all that are decoded.
    """

    name: Name
    capped: bool
    low_resource: tuple[str, ...]
    languages: tuple[str, ...]

    @property
    def words(self) -> Metric:
        """The WER of these texts."""
        return Metric("wer", self._text, self.capped)

    @property
    def characters(self) -> Metric:
        """The CER of these texts."""
        return Metric("cer", self._text, self.capped)

    @property
    def plain(self) -> Metrics:
        """The same rates, not capped."""
        return replace(self, capped=False)

    def of(self, language: str) -> Metric:
        """Return a language's own rate."""
        by_words = separates_words(language) if self.name == "auto" else self.name.startswith("wer")
        return self.words if by_words else self.characters

    def deciding(self, rates: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return each language's own rate.

        Args:
            rates: of a report: by name and language. Those of the run's cap are called `wer` and `cer`.
        """
        found = {}
        for language in dict.fromkeys(language for of in rates.values() for language in of):
            metric = self.of(language)
            by_language = rates.get(metric.unit if self.capped else metric.name, {})
            if language in by_language:
                found[language] = by_language[language]
        return found

    @property
    def is_relative(self) -> bool:
        """Whether the low-resource languages have rates of both kinds: then changes from the baseline are averaged."""
        return len(self._kinds(self.low_resource)) > 1

    @property
    def marks(self) -> dict[str, str]:
        """What stands beside each language, `WER` or `CER`; empty where one heading is true of all."""
        both = len(self._kinds(self.languages)) > 1
        return {language: self.of(language).kind for language in self.languages} if both else {}

    @property
    def label(self) -> str:
        """The rates' name as a heading: `capped WER`, `CER`, or `capped WER or CER`."""
        return self._label(self.languages)

    @property
    def other_label(self) -> str:
        """The name of the rates over the other unit, in the same order: `capped CER or WER`."""
        kinds = self._kinds(self.languages)
        return self._prefix + " or ".join(sorted({"WER", "CER"} - set(kinds)) or reversed(kinds))

    @property
    def objective_label(self) -> str:
        """The name of what is minimised."""
        rates = self._label(self.low_resource)
        return "relative low-resource error rate" if self.is_relative else f"low-resource {rates}"

    @property
    def objective_about(self) -> str:
        """A sentence on what is minimised; empty where it is the mean rate."""
        languages = ", ".join(self.low_resource)
        mean = f"is the mean over {languages} of the rate as a share of the baseline's"
        return f"The {self.objective_label} {mean}." if self.is_relative else ""

    @property
    def about(self) -> str:
        """Which rate each language has, and of which texts, for a reader: `CER of zh, WER of the others, raw`."""
        texts = "normalised" if self._text == "normalized" else "raw"
        if not self.marks:
            return texts
        of_characters = ", ".join(language for language, kind in self.marks.items() if kind == "CER")
        return f"CER of {of_characters}, WER of the others, {texts}"

    @property
    def title(self) -> str:
        """A heading over the rates: `Word error rate`, or that of characters, or of both."""
        units = [one.removesuffix("s") for one in self.counted.split(" or ")]
        return f"{' and '.join(units)} error rate".capitalize()

    @property
    def counted(self) -> str:
        """What a reference consists of: `words`, `characters`, or `words or characters`."""
        return " or ".join(sorted({self.of(language).counted for language in self.languages}, reverse=True))

    @property
    def _text(self) -> str:
        return "normalized" if self.name == "auto" else self.name.partition("_")[2]

    @property
    def _prefix(self) -> str:
        return "capped " if self.capped else ""

    def _label(self, languages: Iterable[str]) -> str:
        return self._prefix + " or ".join(self._kinds(languages))

    def _kinds(self, languages: Iterable[str]) -> list[str]:
        """Return `WER`, `CER`, or both, in this order."""
        return sorted({self.of(language).kind for language in languages}, reverse=True)

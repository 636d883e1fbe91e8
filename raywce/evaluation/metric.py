"""The error rate that counts: of words or characters, of raw or normalised texts, capped by utterance or not."""

from __future__ import annotations

from dataclasses import dataclass, replace

_UNITS = {"wer": "words", "cer": "characters"}


@dataclass(frozen=True)
class Metric:
    """An error rate.

    Attributes:
        name: `wer_normalized`, `wer_raw`, `cer_normalized` or `cer_raw`.
        capped: an utterance has at most as many errors as its reference has words (or characters), so that a single
            one whose decoding ran away can't decide it.
    """

    name: str
    capped: bool = False

    @property
    def group(self) -> str:
        """The name of its counts in `raywce.evaluation.utterances.COUNT_GROUPS`."""
        unit, _, text = self.name.partition("_")
        return f"{_UNITS[unit]}_{text}"

    @property
    def field(self) -> str:
        """The name of its field of `raywce.evaluation.rates.LanguageRates`."""
        return f"{self.name}_capped" if self.capped else self.name

    @property
    def label(self) -> str:
        """Its name in tables and sentences, such as `capped WER`."""
        unit = self.name.partition("_")[0].upper()
        return f"capped {unit}" if self.capped else unit

    @property
    def of_characters(self) -> Metric:
        """The same rate over characters."""
        return replace(self, name=self.name.replace("wer", "cer"))

    @property
    def plain(self) -> Metric:
        """The same rate, not capped."""
        return replace(self, capped=False)

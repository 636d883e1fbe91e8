"""What a search minimises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from raywce.experiment.schema import Experiment


@dataclass(frozen=True)
class Objective:
    """The mean over the low-resource languages of each one's rate, as a share of a reference.

    Attributes:
        references: by low-resource language. Where all have a rate of one kind, 1: it is the mean rate. A WER and a CER
            have no common scale: there it is the baseline's rate, and a change of the mean from the baseline's, which
            is 1, is the mean of the languages' relative changes.
    """

    references: Mapping[str, float]

    @classmethod
    def of(cls, experiment: Experiment, baseline: Mapping[str, float]) -> Objective:
        """Return an experiment's objective.

        Args:
            experiment: whose low-resource languages and rates count.
            baseline: its rates by language, fractions above 0; not asked for where all rates are of one kind.
        """
        relative = experiment.metrics.is_relative
        return cls({name: baseline[name] if relative else 1.0 for name in experiment.languages.low_resource})

    def value(self, rates: Mapping[str, float]) -> float:
        """Return it for rates by language, fractions; NaN where one is missing."""
        shares = [rates.get(name, math.nan) / reference for name, reference in self.references.items()]
        return sum(shares) / len(shares)

"""How often each language is drawn: what the sampling asks for, and what both kinds in every batch make of it."""

from __future__ import annotations

from collections.abc import Mapping

from raywce.data.sampler import Copies, language_shares, with_both_kinds, with_copies
from raywce.experiment.schema import Experiment


def draws(experiment: Experiment, counts: Mapping[str, int]) -> dict[str, float]:
    """Return each language's share of a training's utterances; they add up to 1.

    Args:
        experiment: with a value in every leaf.
        counts: train utterances by language, without copies.
    """
    shares = asked_draws(experiment, counts)
    if experiment.data.sampling.both_kinds is not True:
        return shares
    return with_both_kinds(shares, set(experiment.languages.low_resource), experiment.training.batch_size)


def asked_draws(experiment: Experiment, counts: Mapping[str, int]) -> dict[str, float]:
    """Return the shares by `data.sampling.shares` or `data.sampling.temperature` alone."""
    sampling = experiment.data.sampling
    return language_shares(with_copies(counts, copies_of(experiment)), sampling.temperature, sampling.shares)


def copies_of(experiment: Experiment) -> dict[str, Copies]:
    """Return how many augmented copies there are of each utterance, by language that has any."""
    return dict.fromkeys(experiment.augmented_languages, experiment.augmentation.copies)

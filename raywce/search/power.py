"""What a search can confirm, by its file and its dev split."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from raywce import numbers
from raywce.data.dev_split import in_part
from raywce.evaluation.confidence import FEWEST_SPEAKERS, Speech
from raywce.runs.folder import RunFolder
from raywce.runs.tables import TrialTable
from raywce.selection.limits import Rule, mean_wers
from raywce.selection.outcome import baseline_wers
from raywce.selection.power import SEEDS, SUITS, HeldOut, Power, power
from raywce.storage.node_copy import read_columns

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile

_RATE = 0.2  # where nothing was measured
_POINTS, _PERCENT = (1.0, 2.0, 5.0), (5.0, 10.0, 20.0)  # gains to state the chance for


def power_of(file: ExperimentFile, folder: RunFolder | None = None) -> Power | None:
    """Return what a search's confirm phase can show; None without one, or where dev can't be read.

    Args:
        file: with its distributions.
        folder: of the run, whose baseline's rates count where it has them; None: the experiment's.
    """
    experiment = file.experiment
    confirm, low = experiment.search.confirm, experiment.languages.low_resource
    if not confirm.candidates:
        return None
    rates = _rates(file, folder or RunFolder.of(experiment.storage, experiment.name))
    held = {
        language: _held_out(file, language, rates.get(language, _RATE)) for language in experiment.languages.decoded
    }
    if not all(held.get(language) for language in [*low, *experiment.limited_languages]):
        return None
    known = {language: one for language, one in held.items() if one}
    unclaimed = [language for language, one in known.items() if not one.claims_new_speakers]
    found = power(
        [known[language] for language in low],
        {language: known[language] for language in experiment.limited_languages},
        {name: Rule.of(experiment.search.constraints, name) for name in experiment.limited_languages},
        [confirm.of_baseline(confirm.seeds), *[confirm.seeds] * confirm.candidates],
        confirm.confidence,
        _PERCENT if experiment.metrics.is_relative else _POINTS,
        relative=experiment.metrics.is_relative,
    )
    return replace(found, no_claim_on_new_speakers=unclaimed, measured=bool(rates))


def power_lines(file: ExperimentFile, found: Power) -> list[str]:
    """Return it in words: what is confirmed how often, which limits are too narrow, and what is assumed."""
    low = " and ".join(file.experiment.languages.low_resource)
    points, chance = min(found.chances.items(), key=lambda one: abs(one[1] - 0.7))
    metrics = file.experiment.metrics
    unit = "% of the baseline's rates on average" if metrics.is_relative else "points"
    lines = [
        f"a setting that truly lowers {low} by {points:g} {unit} and makes no other language worse is confirmed by "
        f"held-out speech in about {round(10 * chance)} of 10 searches"
    ]
    if found.gain is not None:
        lines[0] += f", one that lowers it by {found.gain:.1f} in 8"
    if found.too_narrow:
        narrow = ", ".join(
            f"{name} {found.limits[name]:.2g} (resolved: {found.resolved[name]:.2g})" for name in found.too_narrow
        )
        do = "widen them, record more speakers, or confirm over more seeds"
        lines.append(f"limits in points below what dev resolves: {narrow}; {do}")
    if found.no_claim_on_new_speakers:
        few = f"fewer than {FEWEST_SPEAKERS} speakers are held out"
        lines.append(f"nothing is claimed about new speakers of {', '.join(found.no_claim_on_new_speakers)}: {few}")
    rate, seeds, suits = (f"{numbers.percent(share, digits=0)} %" for share in (_RATE, SEEDS, SUITS))
    measured = "as the baseline's" if found.measured else f"of {rate}"
    rates = " or ".join(f"{kind}s" for kind in metrics.plain.label.split(" or "))
    lines.append(
        f"(assumed: {rates} {measured}, {seeds} of it between trainings, {suits} between a setting's speakers)"
    )
    return lines


def _rates(file: ExperimentFile, folder: RunFolder) -> dict[str, float]:
    """Return the baseline's rates by language where the run folder has them."""
    try:
        table = TrialTable.open(folder, file.space, file.experiment.languages)
        found = mean_wers(baseline_wers(table, file.experiment))
    except (OSError, LookupError, ValueError):
        return {}
    return {language: rate for language, rate in found.items() if np.isfinite(rate)}


def _held_out(file: ExperimentFile, language: str, rate: float) -> HeldOut | None:
    try:
        table = read_columns(file.experiment.data.folder, [f"dev/{language}"], ["id", "speaker", "text"])
    except (OSError, ValueError):  # not there, or damaged: others say so
        return None
    rows = table.to_pydict()
    kept = in_part("confirm", file.experiment.search.confirm.dev_share, rows["id"], rows["speaker"])
    metric = file.experiment.metrics.of(language)
    words = np.array([len(metric.pieces(rows["text"][index], language)) for index in kept])
    if not words.sum():
        return None
    speech = Speech(words, [rows["speaker"][index] for index in kept])
    return HeldOut(len(words), int(words.sum()), speech.talkative_speakers, rate, speech.claims_new_speakers)

"""One number for a search's budget, shared out over baseline, trials and confirm phase."""

from __future__ import annotations

import math

from raywce.errors import fail
from raywce.experiment.schema import Search

_CONFIRM = 0.42  # share of the trainings, for candidates and baseline
_BASELINE = 0.1
_BASELINE_SEEDS = (6, 8)  # with fewer, how much trainings differ is hardly known; more teach little
_FEWEST_SEEDS, _FEWEST_TRIALS = 3, 6


def shared_out(search: Search) -> Search:
    """Return a search with numbers of trials and seeds; those that the file gives stay.

    Raises:
        InputError: the trainings are too few for what the file asks for.
    """
    if search.sampler == "grid":
        is_given = "baseline_seeds" in search.model_fields_set
        return search if is_given else search.model_copy(update={"baseline_seeds": search.seeds})
    confirm, total, given = search.confirm, search.trainings, search.model_fields_set
    if confirm.candidates and "seeds" not in confirm.model_fields_set:
        seeds = round(_CONFIRM * total / (confirm.candidates + math.sqrt(confirm.candidates)))
        confirm = confirm.model_copy(update={"seeds": max(_FEWEST_SEEDS, seeds)})
    baseline, trials = search.baseline_seeds, search.trials
    if "baseline_seeds" not in given:
        baseline = min(max(round(_BASELINE * total), _BASELINE_SEEDS[0]), _BASELINE_SEEDS[1])
    if trials is None:
        trials = total - baseline - confirm.trainings
        if trials < _FEWEST_TRIALS:
            least = _FEWEST_TRIALS + baseline + confirm.trainings
            what = f"{baseline} of the baseline, {confirm.trainings} of the confirm phase, {_FEWEST_TRIALS} trials"
            fail("search.trainings", f"must be at least {least} ({what})", total)
    return search.model_copy(update={"confirm": confirm, "baseline_seeds": baseline, "trials": trials})

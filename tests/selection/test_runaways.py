"""A hundred utterances, one of which was decoded in a loop: what the plain and the capped WER say of a search."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from raywce.evaluation.metric import Metrics
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.utterances import score, to_table
from raywce.experiment.schema import Experiment
from raywce.screen.confirmation import finding
from raywce.selection.candidates import Candidate, Known
from raywce.selection.comparison import Decoded, choose, compare, side_by_side
from raywce.selection.limits import limits, reference_wers, violations
from raywce.selection.outcome import Confirmation, PlainConfirmation
from raywce.selection.runaways import runaway_notes
from tests.experiment.example import changed

UTTERANCES, LOOPED = 100, "gl-099"
METRICS = Metrics("wer_normalized", True, ("gl",), ("gl", "es"))
REFERENCE = "un dous tres catro cinco seis sete oito nove dez"
ONE_ERROR = "un dous tres catro cinco seis sete oito nove once"


def table(rates: dict[str, float], looped: str = "", speaker: int = 0) -> pa.Table:
    """Of each language, so many utterances of ten words of which a share has one error; one may be a loop."""
    rows = []
    for language, rate in rates.items():
        wrong = round(rate * 10 * UTTERANCES)
        for index in range(UTTERANCES):
            name = f"{language}-{index:03d}"
            hypothesis = "a " * 132 if name == looped else ONE_ERROR if index < wrong else REFERENCE
            rows.append(
                score(
                    id=name,
                    language=language,
                    language_token=language,
                    speaker=f"{language}-{index % 50}",
                    duration=4.0,
                    reference=REFERENCE,
                    hypothesis=hypothesis.strip(),
                    normalizer="words",
                    detected_language=None,
                    truncated=name == looped,
                )
            )
    return to_table(rows)


@pytest.fixture
def experiment(example: Path) -> Experiment:
    """Galician beside Spanish, which may become two points worse."""
    languages = "languages={low_resource: [gl], high_resource: [es]}"
    overrides = [languages, "search.constraints.absolute_floor=2", "search.confirm.seeds=3"]
    return changed(example, *overrides, check_files=False).experiment


BASELINE = [table({"gl": 0.05, "es": 0.05}, LOOPED), table({"gl": 0.05, "es": 0.05}), table({"gl": 0.05, "es": 0.05})]
CANDIDATE = [table({"gl": 0.05, "es": 0.05})] * 3
DECODED = Decoded(original=table({"gl": 0.09, "es": 0.05}), baseline=BASELINE, candidates={"candidate-1": CANDIDATE})


def test_one_loop_is_a_tenth_of_the_plain_rate_and_one_hundredth_of_the_capped_one() -> None:
    rates = rates_by_language(BASELINE[0])["gl"]
    assert rates.wer_normalized == pytest.approx((50 + 132) / 1000)
    assert rates.wer_normalized_capped == pytest.approx((50 + 10) / 1000)
    assert (rates.truncated, rates.loops) == (1, 1)


def test_a_note_says_which_utterance_makes_the_difference() -> None:
    (note,) = runaway_notes([("baseline-0", BASELINE[0]), ("baseline-1", BASELINE[1])], METRICS)
    assert note == "baseline-0, gl: WER 18.20 %, capped WER 6.00 %, by gl-099 (132 errors in 10 words)"
    assert runaway_notes([("baseline-0", BASELINE[0])], METRICS.plain) == []


@pytest.mark.parametrize(("capped", "gain"), [(False, -13.2 / 3), (True, -1.0 / 3)])
def test_the_gain_over_a_baseline_that_looped_once(experiment: Experiment, capped: bool, gain: float) -> None:
    judged = experiment if capped else experiment.by_plain_rate
    comparison = compare(DECODED, side_by_side(DECODED, judged), judged)
    found = comparison.candidates["candidate-1"].low_resource_gain
    assert found is not None
    assert 100 * found.value == pytest.approx(gain)
    assert comparison.label == ("capped WER" if capped else "WER")
    assert [note.split(":")[0] for note in comparison.notes] == ["baseline, 1 of 3, gl"] * capped


@pytest.mark.parametrize(("capped", "violation"), [(False, 11.2), (True, -1.0)])
def test_a_loop_of_a_high_resource_language_breaks_a_limit_by_the_plain_rate(
    experiment: Experiment, capped: bool, violation: float
) -> None:
    metric = (experiment.metrics if capped else experiment.metrics.plain).of("es")
    plain, looped = (rates_by_language(table({"es": 0.05}, name))["es"] for name in ("", "es-099"))
    against = reference_wers(experiment.search.constraints, ["es"], {"es": getattr(plain, metric.field)}, {})
    found = violations({"es": getattr(looped, metric.field)}, limits(experiment.search.constraints, against))
    assert found["es"] == pytest.approx(violation)


def test_where_the_plain_rate_says_something_else_the_finding_says_so(experiment: Experiment) -> None:
    candidate = [table({"gl": 0.02, "es": 0.05}, looped) for looped in ("es-099", "", "")]
    decoded = replace(DECODED, baseline=[BASELINE[1]] * 3, candidates={"candidate-1": candidate})

    def judged(by: Experiment) -> tuple[object, object]:
        sides = side_by_side(decoded, by)
        known = Known([-0.02, -0.03], [1.0, 1.0], [True, True])  # next to nothing
        of = {"candidate-1": Candidate("candidate-1", {}, 0.9, with_model=False, known=known)}
        return compare(decoded, sides, by), choose(decoded, sides, by, of)

    dev, choice = judged(experiment)
    plain = PlainConfirmation(*judged(experiment.by_plain_rate), {})  # type: ignore[arg-type]
    found = Confirmation(dev, choice, {}, {}, {}, None, plain)  # type: ignore[arg-type]
    assert found.choice.winner == "candidate-1"
    assert "points of low-resource capped WER" in finding(found)
    assert finding(found).endswith("By the plain WER, candidate-1 is not confirmed.")
    assert finding(replace(found, plain=replace(plain, choice=found.choice))) == finding(replace(found, plain=None))


def test_an_empty_reference_has_no_rate() -> None:
    row = score(
        id="gl-0",
        language="gl",
        language_token="gl",
        speaker=None,
        duration=1.0,
        reference="",
        hypothesis="grazas",
        normalizer="words",
        detected_language=None,
        truncated=False,
    )
    assert math.isnan(rates_by_language(to_table([row]))["gl"].wer_normalized_capped)

from __future__ import annotations

from dataclasses import replace

from raywce.experiment.schema import RobustnessLimits
from raywce.selection.robustness import Measures, figures

LIMITS = RobustnessLimits(nothing=10, long_form=5)


def measured(nothing: float | None, long_form: float | None) -> Measures:
    return Measures(nothing, long_form, long_form, None, None, None)


def test_what_is_just_allowed_breaks_nothing() -> None:
    models = {name: {"gl": measured(share, None)} for name, share in {"a": 0.06, "baseline": 0.06, "b": 0.07}.items()}
    assert figures(models, RobustnessLimits(nothing=1), ["gl"]).broken == []
    assert figures(models, RobustnessLimits(nothing=0.9), ["gl"]).broken


def test_a_limit_is_against_the_baseline_and_not_the_original() -> None:
    limits = RobustnessLimits(nothing=10, language_identification=5)
    original, baseline = measured(0.0, None), replace(measured(0.5, None), language_identification=0.9)
    after = replace(measured(0.6, None), language_identification=0.84)
    found = figures({"original": {"gl": original}, "baseline": {"gl": baseline}, "a": {"gl": after}}, limits, ["gl"])
    (broken,) = found.broken
    assert (
        broken == "gl: utterances whose language is recognised 90.00 → 84.00 %, by 6.0 points worse where 5 are allowed"
    )
    better = replace(after, language_identification=0.99, nothing=0.0)
    assert figures({"baseline": {"gl": baseline}, "a": {"gl": better}}, limits, ["gl"]).broken == []


def test_a_limit_holds_for_limited_languages_and_is_named_where_nothing_was_measured() -> None:
    before = {"gl": measured(0.1, 0.3), "ja": measured(0.1, None), "it": measured(0.0, 0.1)}
    after = {"gl": measured(0.3, 0.34), "ja": measured(0.1, 0.2), "it": measured(1.0, 0.9)}
    found = figures({"original": before, "baseline": before, "winner": after}, LIMITS, ["gl", "ja", "pt"])
    assert found.broken == [
        "gl: clips of silence or noise with text 10.00 → 30.00 %, by 20.0 points worse where 10 are allowed"
    ]
    assert found.unmeasured == [
        "pt: clips of silence or noise with text",
        "ja: CER of long-form speech, in one piece",
        "pt: WER of long-form speech, in one piece",
    ]
    assert found.verdict == f"It breaks a limit of robustness: {found.broken[0]}."
    assert [title for title, language, _ in found.rows if language == "ja"][
        -1
    ] == "CER of long-form speech, in one piece"
    without = figures({"original": before, "baseline": before, "winner": after}, RobustnessLimits(), ["gl"])
    assert (without.broken, without.unmeasured, without.verdict) == ([], [], "")

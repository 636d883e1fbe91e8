from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raywce.errors import RunFailed
from raywce.report.build import build
from raywce.report.page import all_plots, page
from raywce.report.plots import trade_off
from raywce.report.run import read_run
from raywce.selection.outcome import outcome
from tests.report import made_runs
from tests.report.made_runs import HOSTILE, STEPS, MadeRun


def test_all_trainings_are_there_the_best_first(searched: MadeRun) -> None:
    report = build(read_run(searched.folder))
    rows = pq.read_table(searched.folder.path("trials.parquet")).to_pylist()
    assert {point.trial_id for point in report.trials} == {row["trial_id"] for row in rows}
    assert (report.wanted, report.completed, report.failed, report.stopped) == (10, 8, 1, 1)
    assert report.trials[0].trial_id == report.best == searched.outcome().best.trial_id
    assert report.feasible == searched.outcome().feasible
    baseline = searched.outcome().references.baseline
    for point in report.trials:
        last = [row for row in rows if row["trial_id"] == point.trial_id][-1]
        if last["final"]:
            rise = max(100 * (last[f"wer/{language}"] - baseline[language]) for language in ("es", "pt"))
            assert point.worst_change == pytest.approx(rise)
            assert point.objective == last["wer/gl"]
    assert {point.trial_id for point in report.trials if point.in_pareto_set} == {
        point.trial_id for point in searched.outcome().pareto
    }
    failed = next(point for point in report.trials if point.state == "FAIL")
    assert HOSTILE in (failed.reason or "")


def test_time_is_counted_by_phase_and_by_what_a_trial_holds(tmp_path: Path) -> None:
    run = made_runs.MadeRun(made_runs.write_file(tmp_path, baseline_seeds=3))
    run.baseline()
    run.search(2, fails=None, pruned=None)
    report = build(read_run(run.folder))
    costs = {cost.phase: (cost.trainings, cost.seconds) for cost in report.set_up.costs}
    assert costs == {"baseline": (3, 3 * 2.5 * STEPS), "search": (2, 2 * 2.5 * STEPS)}
    assert report.set_up.costs[0].cpu_hours == pytest.approx(3 * 2.5 * STEPS / 3600)
    assert report.set_up.costs[0].gpu_hours == 0


def test_an_unfinished_search_has_a_report_of_what_there_is(tmp_path: Path) -> None:
    run = made_runs.MadeRun(made_runs.write_file(tmp_path))
    run.baseline()
    only_baseline = build(read_run(run.folder))
    assert only_baseline.finding.startswith("There is no finding yet: no trial was completed")
    assert only_baseline.wers == []
    assert not only_baseline.finished
    page(only_baseline, read_run(run.folder))
    run.search(6)
    report = build(read_run(run.folder))
    assert report.finding.startswith("The search is not finished (6 of 10 trials). ")
    assert report.set_up.search_seconds is None
    assert "not finished" in page(report, read_run(run.folder))


def test_nothing_feasible_is_said_with_what_stands_in_the_way(tmp_path: Path) -> None:
    run = made_runs.searched(tmp_path, constraints={"reference": 1.0, "absolute_floor": 0.1})
    report = build(read_run(run.folder))
    nearest = run.outcome().nearest
    assert report.finding.startswith(
        f"Nothing feasible: in the nearest, trial {nearest.trial_id}, {nearest.worst[0]} is"
    )
    assert report.label == "nearest trial"
    assert report.allowed["es"] == pytest.approx(1.1 - 100 * run.outcome().references.baseline["es"])
    page(report, read_run(run.folder))


def test_without_a_winner_the_nearest_candidate_is_shown(tmp_path: Path) -> None:
    run = made_runs.confirmed(tmp_path, constraints={"absolute_floor": 1.0})
    report = build(read_run(run.folder))
    assert report.label == "nearest candidate"
    assert report.finding.startswith("Nothing confirmed")
    assert "95 % interval of the change" in report.finding
    assert report.candidate in report.claims
    assert f" {report.candidate} lowers the capped WER of gl" in report.finding
    assert any("stays closed" in note for note in report.notes)
    page(report, read_run(run.folder))


def test_notes_on_single_trainings_are_folded_below_the_rates_and_those_on_the_finding_stand_above(
    confirmed: MadeRun,
) -> None:
    run = read_run(confirmed.folder)
    assert run.outcome is not None
    outcome = replace(run.outcome, notes=["baseline-0, gl: 9 <errors>"], out_of_time=True)
    report = build(replace(run, outcome=outcome))
    assert [note for note in report.notes if "time limit" in note]
    assert report.rate_notes[0] == "baseline-0, gl: 9 <errors>"
    html = page(report, run)
    assert html.index("The time limit was reached") < html.index('<section id="wer"')
    assert html.index('<section id="wer"') < html.index("<li>baseline-0, gl: 9 &lt;errors&gt;</li>")


def test_a_confirmed_finding_is_that_of_the_confirm_phase(confirmed: MadeRun) -> None:
    report = build(read_run(confirmed.folder))
    stored = json.loads(confirmed.folder.read_text("outcome.json"))["confirmation"]
    assert report.candidate == stored["choice"]["winner"]
    assert report.candidate in report.finding
    assert "The model to take is " in report.finding
    assert "Averaging alone changes the baseline by " in report.finding
    assert report.best.startswith(f"confirm-{report.candidate}-")
    assert set(report.claims) == set(stored["choice"]["claims"])
    assert report.curves[1].trial_id == report.alphas[0].trial_id == report.best
    assert all(one.startswith("confirm-") for one in report.examples.compared)
    assert "not reachable" in report.corpus.why_not


def test_a_searched_key_with_one_value_has_no_contour(tmp_path: Path) -> None:
    factors = {
        "weight": {"strong": {"weighting.alpha_final": 5.0}},
        "audio": {name: {"augmentation": {"strength": size}} for name, size in (("a", 0.5), ("b", 1.0), ("c", 1.5))},
    }
    run = made_runs.grid(tmp_path, factors)
    report = build(read_run(run.folder))
    assert set(report.importance.shares) == {"weight", "audio"}
    assert report.importance.pairs == []
    page(report, read_run(run.folder))


def test_a_grid_without_a_whole_setting_says_so(tmp_path: Path) -> None:
    run = made_runs.grid(tmp_path, trials=4)
    none = "no setting was completed with each of its seeds"
    assert build(read_run(run.folder)).finding == f"There is no finding yet: {none}."
    with pytest.raises(RunFailed, match=f"^{none}; the time limit was reached$"):
        outcome(run.table, run.experiment, {}, out_of_time=True)


def test_while_the_baseline_trains_the_report_says_how_far_it_is(tmp_path: Path) -> None:
    run = made_runs.MadeRun(made_runs.write_file(tmp_path, baseline_seeds=3))
    run.baseline(2)
    assert build(read_run(run.folder)).finding == (
        "There is no finding yet: the baseline is not complete: 2 of 3 trainings."
    )


def test_a_grid_has_its_settings(tmp_path: Path) -> None:
    run = made_runs.grid(tmp_path)
    report = build(read_run(run.folder))
    assert [row.name for row in report.settings][:2] == ["original", "baseline"]
    assert {row.runs for row in report.settings[2:]} == {2}
    assert report.best in {point.trial_id for point in report.trials}
    text = page(report, read_run(run.folder))
    assert "The grid's settings" in text
    front = next(trace for trace in trade_off(report, report.trials)["data"] if trace["name"] == "Pareto set")
    means = {row.objective: row.worst_change for row in run.outcome().pareto}
    assert dict(zip([y / 100 for y in front["y"]], front["x"], strict=True)) == pytest.approx(means)
    assert len(report.importance.pairs) == 1
    assert "<script>window.hurt" not in text  # a level's name, in tables and plots
    assert "&lt;script&gt;window.hurt" in text


def test_what_prepare_left_out_is_shown_with_its_reasons(searched: MadeRun) -> None:
    found = build(read_run(searched.folder)).corpus
    assert (found.rows, found.utterances, found.why_not) == (12, 9, None)
    assert found.parts[0].rejected == {"too_long": 2}
    row = found.rejected[0]
    assert (row.reason, row.text, row.detail) == ("too_long", HOSTILE, "31.5 s")


def test_json_has_null_for_what_is_no_number(searched: MadeRun) -> None:
    figures = build(read_run(searched.folder)).as_dict()
    figures["baseline_objective"] = math.nan
    with pytest.raises(ValueError, match="Out of range"):
        json.dumps(figures, allow_nan=False)
    report = build(read_run(searched.folder))
    object.__setattr__(report, "baseline_objective", math.nan)
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["baseline_objective"] is None


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """A search with a confirm phase that watches Italian and holds it to a limit that is far away."""
    constraints = {"absolute_floor": 12.0, "languages": {"it": {"absolute_floor": 90.0}}}
    return made_runs.confirmed(tmp_path_factory.mktemp("watching"), "languages.watched=[it]", constraints=constraints)


def test_a_watched_language_is_in_all_tables_as_one(watching: MadeRun) -> None:
    report = build(read_run(watching.folder))
    assert [table.title for table in report.wers] == [
        "dev, speakers held out of the search",
        "test",
        *(table.title for table in report.wers[2:4] if table.label == "average"),
        "dev, as the search saw it",
    ]
    for table in report.wers:
        assert [(row.language, row.low_resource, row.watched) for row in table.languages] == [
            ("gl", True, False),
            ("es", False, False),
            ("pt", False, False),
            ("it", False, True),
        ]
        assert table.languages[-1].chosen.low < table.languages[-1].chosen.value < table.languages[-1].chosen.high
    assert (report.watched, list(report.allowed)) == (["it"], ["es", "pt", "it"])
    assert report.wers[0].languages[-1].above_limit == report.claims[report.candidate].bounds["it"] < 0
    assert {point.wer["it"] is None for point in report.trials if point.state == "COMPLETE"} == {False}


def test_a_watched_language_is_named_as_one_on_the_page(watching: MadeRun) -> None:
    run = read_run(watching.folder)
    report = build(run)
    text = page(report, run)
    rates, _, robustness = text.partition('id="robustness"')
    named = '<th scope="row">it (watched)</th>'
    assert rates.count(named) == len(report.wers)
    assert robustness.count(named) == 2, "of each measure"
    assert "<h4>it (watched)</h4>" in text
    assert '<th scope="col" class="n">it (watched) bound</th>' in text
    drawn = all_plots(report, run)
    assert {"wer-over-steps-3", "loss-over-steps-2"} <= drawn.keys()
    assert "loss-over-steps-3" not in drawn, "it has no training loss"
    assert any("it (watched)" in trace["x"] for trace in drawn["wer-0"]["data"])


def test_a_watched_language_without_a_limit_has_no_bound(tmp_path: Path) -> None:
    run = made_runs.confirmed(tmp_path, "languages.watched=[it]", constraints={"absolute_floor": 12.0})
    report = build(read_run(run.folder))
    assert list(report.allowed) == ["es", "pt"]
    row = report.wers[0].languages[-1]
    assert (row.language, row.low_resource, row.above_limit) == ("it", False, None)
    text = page(report, read_run(run.folder))
    assert "it (watched)" in text
    assert "it (watched) bound" not in text


def test_a_wer_and_a_cer_are_told_apart_and_their_relative_changes_averaged(tmp_path: Path) -> None:
    run = made_runs.mixed(tmp_path)
    report = build(read_run(run.folder))
    assert report.marks == {"gl": "WER", "zh": "CER", "es": "WER", "pt": "WER"}
    assert (report.rate, report.rate_title) == ("capped WER or CER", "Word and character error rate")
    assert report.baseline_objective == 1.0
    for table in report.wers:
        changes = [row.against_baseline.value / row.baseline.value for row in table.languages if row.low_resource]
        assert table.gain.value == pytest.approx(sum(changes) / 2)
    baseline = run.outcome().references.baseline
    for point in report.trials:
        if point.state == "COMPLETE":
            shares = [point.wer[language] / baseline[language] for language in ("gl", "zh")]
            assert point.objective == pytest.approx(sum(shares) / 2)
    assert "lowers the error rates of gl and zh by" in report.finding
    assert "% of the baseline's on average compared with the baseline" in report.finding
    text = page(report, read_run(run.folder))
    assert '<h2 id="wer-title">Word and character error rate</h2>' in text
    assert "auto: CER of zh, WER of the others, normalised, capped" in text
    assert "as its reference has words or characters" in text
    assert "zh (CER)" in text
    assert "mean over gl, zh of the rate as a share of the baseline" in text
    assert "low-resource capped" not in text


def test_where_all_are_judged_by_characters_the_page_says_so(tmp_path: Path) -> None:
    run = made_runs.MadeRun(made_runs.write_file(tmp_path, "evaluation.metric=cer_normalized"))
    run.baseline()
    run.search(4, fails=None, pruned=None)
    run.outcome()
    report = build(read_run(run.folder))
    rows = {row["trial_id"]: row for row in pq.read_table(run.folder.path("trials.parquet")).to_pylist()}
    for point in report.trials:
        assert point.wer["gl"] == rows[point.trial_id]["cer/gl"]
    text = page(report, read_run(run.folder))
    assert "Character error rate" in text
    assert "capped CER in %" in text
    assert "WER" not in text.split("<script")[0]


def test_robustness_is_shown_where_the_test_split_was_opened(searched: MadeRun, confirmed: MadeRun) -> None:
    assert build(read_run(searched.folder)).robustness is None
    run = read_run(confirmed.folder)
    report = build(run)
    assert report.robustness is not None
    text = page(report, run)
    rows = report.robustness.rows
    assert {title for title, *_ in rows} == {"utterances in a loop", "utterances whose language is recognised"}
    section = text[text.index('id="robustness"') : text.index('id="trials"')]
    assert section.count('<tr><th scope="row">') == len(rows)
    assert section.count('<th scope="rowgroup"') == 2
    assert 'id="robustness"' not in page(build(read_run(searched.folder)), read_run(searched.folder))

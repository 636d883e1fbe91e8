"""A run folder's file, read by later versions: values count, not the text."""

from __future__ import annotations

from pathlib import Path

import pytest

from raywce.errors import InputError, Problem
from raywce.experiment import text
from raywce.experiment.validation import put
from raywce.runs import recorded as module
from raywce.runs.folder import EXPERIMENT, RunFolder
from raywce.runs.recorded import check_same, recorded
from tests.experiment.example import FAMILY, SEARCHED_RATE, changed
from tests.older_file import older

BASELINE = "search.baseline={training.optimizer.learning_rate: 1e-5}"
SEARCHED = (FAMILY, SEARCHED_RATE, BASELINE)


@pytest.fixture
def folder(example: Path, tmp_path: Path) -> RunFolder:
    """A run of the example with distributions."""
    folder = RunFolder.of(str(tmp_path / "runs"), "example")
    folder.open(changed(example, *SEARCHED).resolved_yaml())
    return folder


def rewrite(folder: RunFolder, *without: str, **values: object) -> None:
    """The record as another version would have written it; `values` are by dotted path, dots as double underscores."""
    tree = text.parse(folder.read_text(EXPERIMENT), EXPERIMENT)
    tree = put(tree, {path.replace("__", "."): value for path, value in values.items()})
    for path in without:
        *above, last = path.split(".")
        node = tree
        for key in above:
            node = node[key]
        del node[last]
    folder.write_text(EXPERIMENT, text.write(tree))


def differences(folder: RunFolder, example: Path, *overrides: str) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        check_same(folder, changed(example, *SEARCHED, *overrides, check_files=False))
    return caught.value.problems


def test_the_same_values_are_the_same_file_however_they_are_written(folder: RunFolder, example: Path) -> None:
    check_same(folder, changed(example, *SEARCHED))
    tree = text.parse(folder.read_text(EXPERIMENT), EXPERIMENT)
    folder.write_text(EXPERIMENT, "# another order\n" + text.write(dict(reversed(tree.items()))))
    check_same(folder, changed(example, *SEARCHED))


def test_a_new_folder_has_nothing_to_compare_with(example: Path, tmp_path: Path) -> None:
    check_same(RunFolder(str(tmp_path / "new")), changed(example))


def test_a_key_that_came_later_has_its_default(folder: RunFolder, example: Path) -> None:
    rewrite(folder, "training.log_every", "evaluation.part", "weighting.adaptive", "data.sampling.both_kinds")
    rewrite(folder, weighting__adaptive={"choice": [False, True]})
    check_same(folder, changed(example, *SEARCHED))
    (problem,) = differences(folder, example, "training.log_every=7")
    assert (problem.path, problem.got) == ("training.log_every", "7")
    assert problem.rule == f"must be 10, as in {folder.uri}"


def test_a_key_that_came_later_has_what_runs_did_before_it(folder: RunFolder, example: Path) -> None:
    rewrite(folder, "evaluation.capped")
    assert not recorded(folder).experiment.evaluation.capped
    (problem,) = differences(folder, example)
    assert str(problem).startswith(f"evaluation.capped: must be false, as in {folder.uri}, but got true")
    check_same(folder, changed(example, *SEARCHED, "evaluation.capped=false"))


def test_a_run_before_there_were_watched_languages_has_none(folder: RunFolder, example: Path) -> None:
    rewrite(folder, "languages.watched")
    assert recorded(folder).experiment == changed(example, *SEARCHED).experiment
    check_same(folder, changed(example, *SEARCHED))
    (problem,) = differences(folder, example, "languages.watched=[en]")
    assert str(problem).startswith(f'languages.watched: must be [], as in {folder.uri}, but got ["en"]')


def test_every_key_that_differs_is_named_with_both_values(folder: RunFolder, example: Path) -> None:
    found = differences(
        folder,
        example,
        "training.steps=200",
        "weighting.alpha_initial=2",
        "weighting.alpha_final={uniform: [1, 7]}",
        "data.extra_test={broadcast: /elsewhere}",
        "search.confirm.test=true",  # the default
    )
    assert {problem.path: (problem.rule.partition(", as in")[0], problem.got) for problem in found} == {
        "training.steps": ("must be 100", "200"),
        "weighting.alpha_initial": ("must be {uniform: [1.0, 4.0]}", "2.0"),
        "weighting.alpha_final": ("must be {uniform: [1.0, 6.0]}", "{uniform: [1.0, 7.0]}"),
        "data.extra_test.broadcast": ("must not be there", '"/elsewhere"'),
    }
    assert all("another name" in problem.do for problem in found)


def test_a_key_that_is_gone_is_ignored_at_its_old_default_and_named_otherwise(
    folder: RunFolder, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GONE", {"training.wobble": 0.5})
    rewrite(folder, training__wobble=0.5)
    check_same(folder, changed(example, *SEARCHED))
    rewrite(folder, training__wobble=0.7)
    (problem,) = differences(folder, example)
    assert problem.path == "training.wobble"
    assert problem.got == f"0.7 in {folder.uri}"
    rewrite(folder, "training.wobble", search__constraints__never_there=None)
    assert [problem.path for problem in differences(folder, example)] == ["search.constraints.never_there"]


def test_the_file_of_an_older_version_is_the_same_at_its_defaults(folder: RunFolder, example: Path) -> None:
    record, its_own = folder.read_text(EXPERIMENT), changed(example, *SEARCHED, "evaluation.intermediate_share=1.0")
    folder.write_text(EXPERIMENT, older(record))
    check_same(folder, its_own)
    assert recorded(folder).experiment == its_own.experiment
    folder.write_text(EXPERIMENT, older(record, training__context_jitter=0.5, evaluation__both_contexts=True))
    found = {problem.path for problem in differences(folder, example)}
    assert found == {"training.context_jitter", "evaluation.both_contexts", "evaluation.intermediate_share"}


def test_a_key_that_was_renamed_is_read_by_its_new_name(folder: RunFolder, example: Path) -> None:
    folder.write_text(EXPERIMENT, older(folder.read_text(EXPERIMENT), evaluation__share_on_the_way=0.25))
    check_same(folder, changed(example, *SEARCHED, "evaluation.intermediate_share=0.25"))
    (problem,) = differences(folder, example)
    assert (problem.path, problem.rule) == ("evaluation.intermediate_share", f"must be 0.25, as in {folder.uri}")


def test_a_gone_key_with_a_distribution_is_named(folder: RunFolder, example: Path) -> None:
    rewrite(folder, training__optimizer__wobble={"uniform": [0.0, 1.0]})
    assert [problem.path for problem in differences(folder, example)] == ["training.optimizer.wobble"]


def test_a_value_that_is_not_allowed_any_more_is_named(folder: RunFolder, example: Path) -> None:
    rewrite(folder, search__confirm__seeds=1)
    found = differences(folder, example)
    assert {problem.path for problem in found} == {"search.confirm.seeds"}
    assert "must be at least 3, but got 1 in " in str(found[0])


def test_the_micro_whisper_of_another_installation_is_the_same(folder: RunFolder, example: Path) -> None:
    rewrite(folder, model__checkpoint="/opt/old/lib/python3.11/site-packages/raywce/demo/micro_whisper")
    check_same(folder, changed(example, *SEARCHED, "model.checkpoint=demo:micro-whisper"))
    assert [problem.path for problem in differences(folder, example)] == ["model.checkpoint"]


def test_what_a_run_was_made_from_is_read_whatever_else_it_holds(folder: RunFolder, example: Path) -> None:
    rewrite(folder, training__wobble=0.7, search__confirm__seeds=1)
    file = recorded(folder)
    assert file.space == changed(example, *SEARCHED).space
    assert file.experiment.training == changed(example, *SEARCHED).experiment.training
    assert file.experiment.search.confirm.seeds == 5


@pytest.mark.parametrize("written", ["{", "name: other\n", "[]", "weighting: {kind: unheard}"])
def test_a_file_that_no_run_wrote_is_named(folder: RunFolder, written: str) -> None:
    folder.write_text(EXPERIMENT, written)
    with pytest.raises(InputError, match=rf"{EXPERIMENT}: must be as the run wrote it"):
        recorded(folder)


def test_a_run_that_was_moved_is_the_same(folder: RunFolder, example: Path, tmp_path: Path) -> None:
    elsewhere = changed(example, *SEARCHED, f"storage={tmp_path / 'elsewhere'}", f"data.cache={tmp_path / 'cache'}")
    check_same(folder, elsewhere)

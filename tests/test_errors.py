import pickle

import pytest

from raywce.errors import InputError, Problem, Problems, first_line, one_line


def test_a_problem_says_where_the_rule_what_was_got_and_what_to_do() -> None:
    assert str(Problem("weighting.alpha", "must be greater than 0", "-1")) == (
        "weighting.alpha: must be greater than 0, but got -1"
    )
    assert str(Problem("", "must be there", do="Make it")) == "must be there. Make it"


def test_problems_are_raised_together_or_not_at_all() -> None:
    problems = Problems()
    problems.raise_any()
    problems.add("a", "must be one", 2)
    problems.add("b", "must be two", 1)
    with pytest.raises(InputError) as raised:
        problems.raise_any()
    assert [problem.path for problem in raised.value.problems] == ["a", "b"]


def test_an_input_error_survives_the_way_from_a_worker() -> None:
    error = InputError([Problem("a", "must be one", "2"), Problem("b", "must be two")])
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == error.problems
    assert str(again) == str(error)


def test_an_error_in_a_line() -> None:
    error = ValueError("\n  the file is damaged:\n\tno  header\n")
    assert one_line(error) == "the file is damaged: no header"
    assert first_line(error) == "the file is damaged:"
    assert first_line(ValueError()) == "ValueError"

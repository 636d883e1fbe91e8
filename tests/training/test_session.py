from __future__ import annotations

from pathlib import Path

from raywce.experiment.schema import Resources
from raywce.runs.folder import STATE_FILE
from raywce.training.session import Alone
from raywce.trial_report import Report


def test_a_checkpoint_goes_only_once_the_report_of_the_next_is_given(tmp_path: Path) -> None:
    there: list[list[str]] = []

    def give(report: Report) -> None:
        there.append(sorted(folder.name for folder in tmp_path.iterdir()))
        if report.checkpoint:
            assert Path(report.checkpoint, STATE_FILE).read_text() == f"{report.step}"

    session = Alone(str(tmp_path), Resources(), give)
    session.report(Report(10), lambda folder: (folder / STATE_FILE).write_text("10"))
    session.report(Report(20), lambda folder: (folder / STATE_FILE).write_text("20"))
    session.report(Report(25))
    first, second = "step-00000010", "step-00000020"
    assert there == [[first], [first, second], [second]]
    with session.checkpoint() as found:
        assert found is not None
        assert found[1] == second

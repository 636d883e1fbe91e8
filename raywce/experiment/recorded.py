"""The experiment file that a run folder keeps."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from raywce.errors import InputError, fail
from raywce.experiment.load import ExperimentFile, load
from raywce.run_folder import EXPERIMENT, RunFolder


def recorded(folder: RunFolder) -> ExperimentFile:
    """Read it from a copy, as it may be behind a URI; what it names elsewhere need not be at hand.

    Raises:
        InputError: there is none, or it is not as the run wrote it.
    """
    if not folder.has(EXPERIMENT):
        do = f"Name the folder that raywce search or raywce train wrote: it has an {EXPERIMENT}."
        fail("RUN", "must be a run folder", f"no {EXPERIMENT} in {folder.uri}", do)
    with TemporaryDirectory() as temporary:
        copy = Path(temporary, EXPERIMENT)
        copy.write_text(folder.read_text(EXPERIMENT), encoding="utf-8")
        try:
            return load(copy, check_files=False)
        except InputError as error:
            found = "; ".join(str(problem) for problem in error.problems).replace(str(copy), EXPERIMENT)
            do = "It was changed, or written by another version."
            fail(folder.path(EXPERIMENT), "must be as the run wrote it", found, do)

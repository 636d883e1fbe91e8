from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raywce import numbers
from raywce.cli import app
from raywce.experiment.load import load
from raywce.runs.folder import RunFolder
from tests.experiment.example import FAMILY, SEARCHED_RATE, write_example
from tests.profile.measures import measured
from tests.screen import readable
from tests.tiny_whisper import write_tiny_whisper


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return write_example(tmp_path)


def validate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command, which prints at its end what it has loaded."""
    code = (
        "import atexit, sys; from raywce.cli import main\n"
        "heavy = ('torch', 'ray', 'optuna')\n"
        "atexit.register(lambda: print('loaded:', [name for name in heavy if name in sys.modules]))\n"
        "main()"
    )
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-c", code, "validate", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"RAY_TMPDIR": str(folder), "CUDA_VISIBLE_DEVICES": ""},
    )


def test_a_summary_of_a_valid_file(example: Path, tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    done = validate(tmp_path, str(example), FAMILY, "weighting.ramp_start=0", "--json", str(outcome))
    assert (done.returncode, done.stderr) == (0, "")
    assert "weighting.alpha_final: {uniform: [1.0, 6.0]}" in done.stdout
    assert "100 steps of 8 utterances (800 in all)" in done.stdout
    fields = [line for line in done.stdout.splitlines()[1:] if not line.startswith("note: ")]
    readable.check(fields)
    said = " ".join(done.stdout.split())
    assert "noise_aware, each trial at its full length: search.early_stopping is false." in said
    assert "note: published linear progressive alpha 2 to 5 is not among the first points" in done.stdout
    assert done.stdout.endswith("loaded: []\n")
    written = json.loads(outcome.read_text())
    assert written["valid"]
    assert written["languages"] == {"low_resource": ["gl"], "high_resource": ["es", "pt"], "watched": []}
    assert "watched" not in done.stdout
    assert [point["weighting.alpha_final"] for point in written["first_points"]] == [2.0, 1.5]
    assert written["trial"]["utterances"] == 800
    assert (written["sampler"]["sampler"], written["sampler"]["rungs"]) == ("noise_aware", [])
    assert written["disk"].keys() == {"finished", "trial", "node"}
    assert "disk           storage: up to" in done.stdout
    assert re.search(r"memory +0\.00 GB for a worker's weights, gradients and", done.stdout)
    assert written["memory"] > 0


def test_watched_languages_are_named_with_those_that_have_a_limit(example: Path, tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    watched = ["languages.watched=[en, it]", "languages.language_tokens={it: es}"]
    limit = "search.constraints.languages={it: {absolute_floor: 2}}"
    done = validate(tmp_path, str(example), *watched, limit, "--json", str(outcome))
    assert (done.returncode, done.stderr) == (0, "")
    assert "watched        en, it (with a limit)\n" in done.stdout
    written = json.loads(outcome.read_text())
    assert (written["languages"]["watched"], written["limited"]) == (["en", "it"], ["es", "pt", "it"])


def test_the_share_of_each_language_in_the_draws(example: Path, tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    plain = " ".join(validate(tmp_path, str(example), "weighting={kind: constant, alpha: 2}").stdout.split())
    assert "draws gl 33.3 %, es 33.3 %, pt 33.3 % weighting" in plain
    scarce = ["weighting={kind: dynamic, alpha: 2}", "data.sampling.shares={gl: 0.5, es: 10, pt: 10}"]
    done = validate(tmp_path, str(example), *scarce, "--json", str(outcome))
    said = " ".join(done.stdout.split())
    shares, why = "gl 12.5 %, es 43.8 %, pt 43.8 %", "data.sampling.both_kinds: 2.4 % of low-resource ones are too few"
    assert f"draws {shares} ({why}" in said
    assert json.loads(outcome.read_text())["draws"]["asked"]["gl"] == pytest.approx(0.5 / 20.5)


def test_the_disk_that_a_search_takes(example: Path, tmp_path: Path) -> None:
    outcome, whisper = tmp_path / "outcome.json", write_tiny_whisper(tmp_path / "tiny", ["gl", "es", "pt"])
    few = ["search.confirm={candidates: 2, seeds: 3}", "search.baseline_seeds=1"]
    done = validate(tmp_path, str(example), FAMILY, f"model.checkpoint={whisper}", *few, "--json", str(outcome))
    said = " ".join(done.stdout.split())
    assert "storage: up to 0.00 GB, plus 0.00 GB for each running trial; each node: 0.00 GB" in said
    disk = json.loads(outcome.read_text())["disk"]
    models = 1 + 3 + 2 * 3 + 4  # of the baseline, the best trials, and the confirm phase
    assert disk["finished"] / models == pytest.approx((whisper / "model.safetensors").stat().st_size, rel=0.05)
    assert 2 < disk["trial"] / (disk["finished"] / models) < 3  # AdamW has two moments of each weight but the sinusoids


def test_the_time_that_a_profiled_search_takes(example: Path, tmp_path: Path) -> None:
    storage, outcome = f"storage={tmp_path / 'runs'}", tmp_path / "outcome.json"
    searched = (str(example), FAMILY, "weighting.ramp_start=0", "search.confirm.candidates=0", storage)
    assert "time           unknown: run raywce profile to measure it" in validate(tmp_path, *searched).stdout
    experiment = load(example, searched[1:], check_files=False).experiment
    measured(experiment).write(RunFolder.of(experiment.storage, experiment.name))
    done = validate(tmp_path, *searched, "--json", str(outcome))
    assert done.returncode == 0, done.stderr
    estimate = json.loads(outcome.read_text())["estimate"]
    assert f"time           about {numbers.duration(estimate['seconds'])} (" in done.stdout
    said = " ".join(done.stdout.split())
    assert "profiled 2026-01-02T03:04:05+00:00 on one node with 4 CPUs and 0 GPUs" in said
    changed = validate(tmp_path, *searched, "training.batch_size=64").stdout
    assert "time           unknown: training changed since it was profiled" in changed


def test_every_error_of_a_bad_file(example: Path, tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    bad = ["weighting.alpha=0", "languages.high_resource=[es, gl]", "trianing=1", SEARCHED_RATE, "data.folder=./no"]
    done = validate(tmp_path, str(example), *bad, "--here", "--json", str(outcome))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "raywce: 5 problems:"
    assert {line.split(":")[0].strip() for line in lines[1:]} == {
        "weighting.alpha",
        "languages.high_resource",
        "trianing",
        "search.baseline",
        "data.folder",
    }
    assert "Traceback" not in done.stderr
    assert done.stdout == "loaded: []\n"
    written = json.loads(outcome.read_text())
    assert not written["valid"]
    assert len(written["problems"]) == 5


ELSEWHERE = ("data.folder=./no", "model.checkpoint=./no", "resources.gpus_per_worker=3")


def test_what_this_machine_lacks_is_no_error_of_the_file(example: Path, tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    done = validate(tmp_path, str(example), FAMILY, *ELSEWHERE, "--json", str(outcome))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.removeprefix("not here: ") for line in done.stdout.splitlines() if line.startswith("not here: ")]
    assert [line.split(":")[0] for line in lines] == ["model.checkpoint", "data.folder", "resources.gpus_per_worker"]
    assert "each node: 0.00 GB" not in done.stdout
    written = json.loads(outcome.read_text())
    assert written["valid"]
    assert [lacking["path"] for lacking in written["not_here"]] == [line.split(":")[0] for line in lines]


def test_what_this_machine_lacks_is_an_error_where_the_file_is_to_run_here(example: Path, tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    done = validate(tmp_path, str(example), *ELSEWHERE, "--here", "--json", str(outcome))
    assert done.returncode == 2
    assert done.stderr.startswith("raywce: 3 problems:")
    assert len(json.loads(outcome.read_text())["problems"]) == 3


def test_what_is_here_and_is_not_what_the_file_needs_is_an_error(example: Path, tmp_path: Path) -> None:
    (tmp_path / "whisper" / "config.json").unlink()
    done = validate(tmp_path, str(example), "resources.gpus_per_worker=3")
    assert done.returncode == 2
    assert "model.checkpoint: must be a transformers folder with config.json" in done.stderr
    assert "resources" not in done.stderr


def test_a_part_of_the_prepared_speech_is_enough_unless_the_file_is_to_run_here(example: Path, tmp_path: Path) -> None:
    lacking = "data.folder: must hold train/en/*.parquet"
    part = [str(example), "languages.high_resource=[es, en]"]
    done = validate(tmp_path, *part)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"not here: {lacking}" in done.stdout
    done = validate(tmp_path, *part, "--here")
    assert done.returncode == 2
    assert lacking in done.stderr


def test_the_whole_file_is_printed_with_its_defaults(example: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["validate", str(example), FAMILY, "weighting.ramp_start=0", "--resolved"])
    assert done.exit_code == 0
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(done.stdout)
    assert load(resolved, check_files=False) == load(example, [FAMILY, "weighting.ramp_start=0"], check_files=False)
    assert "max_gradient_norm: 1.0" in done.stdout


def test_a_hub_id_is_checked_without_torch(example: Path, tmp_path: Path) -> None:
    done = validate(tmp_path, str(example), "model.checkpoint=openai/whisper-small")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("loaded: []\n")


def test_demo_names_are_checked_and_nothing_is_generated(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    cache = tmp_path / "cache"
    demo = ["data.folder=demo:six-languages", f"data.cache={cache}"]
    done = validate(tmp_path, str(example), *demo)
    assert done.returncode == 0, done.stderr
    assert "note: the demo corpus is generated on first use" in done.stdout
    assert done.stdout.endswith("loaded: []\n")
    assert not cache.exists()


def test_a_yaml_error_is_one_line_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("name: a\nname: b\n")
    done = validate(tmp_path, str(file))
    assert done.returncode == 2
    assert done.stderr == f"raywce: 1 problem:\n  {file}, line 2, column 1: must be YAML: key 'name' is there twice\n"


def test_a_grid_says_how_many_settings_it_runs_and_which_the_baseline_replaces(example: Path, tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    grid = ["search.sampler=grid", "search.trials=null", "search.points=none", "search.seeds=2"]
    weight = "weight: {plain: {weighting.alpha: 1}, two: {}}"
    rate = "rate: {one: {}, half: {training.optimizer.learning_rate: 5e-6}}"
    levels = f"search.alternatives={{{weight}, {rate}}}"
    done = validate(tmp_path, str(example), *grid, "search.baseline_seeds=2", levels, "--json", str(outcome))
    assert done.stderr == ""
    assert "baseline runs: 2, trials: 6, over" in done.stdout
    assert "grid           settings: 3, seeds of each: 2" in done.stdout
    assert 'replaces weight "plain", rate "one"' in done.stdout
    assert json.loads(outcome.read_text())["grid"]["baseline"] == [{"weight": "plain", "rate": "one"}]


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("wer_raw", "wer_raw: capped WER; minimised: low-resource capped WER"),
        ("cer_normalized", "cer_normalized: capped CER; minimised: low-resource capped CER"),
        (
            "auto",
            "auto: capped WER of gl, es, pt, capped CER of ja; minimised: relative low-resource error rate. "
            "The relative low-resource error rate is the mean over gl, ja of the rate as a share of the baseline's",
        ),
    ],
)
def test_the_rate_of_each_language_is_said(example: Path, tmp_path: Path, metric: str, said: str) -> None:
    outcome = tmp_path / "outcome.json"
    languages = "languages={low_resource: [gl, ja], high_resource: [es, pt], language_tokens: {ja: gl}}"
    result = CliRunner().invoke(
        app, ["validate", str(example), languages, f"evaluation.metric={metric}", "--json", str(outcome)]
    )
    assert result.exit_code == 0, result.output
    assert f"metric {said}" in " ".join(result.output.split())
    assert json.loads(outcome.read_text())["metric"]["name"] == metric

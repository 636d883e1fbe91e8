"""The files in cluster/ hold, as far as can be seen without a cluster.

`ray up`'s file is checked by Ray itself. Pod templates and claims are checked by Kubernetes' own JSON schemas, which
kubernetes-validate brings. No package brings KubeRay's custom resource definitions: their keys are held against those
of KubeRay 1.6's API reference below. The Slurm script runs with stand-ins for Slurm, Ray and raywce.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.runtime_env import RuntimeEnv
from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

from raywce.experiment.load import load

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "cluster"
FILES = {file.name: file.read_text(encoding="utf-8") for file in sorted(FOLDER.iterdir())}
MANIFESTS = ["kuberay-cluster.yaml", "kuberay-job.yaml", "kuberay-storage.yaml"]
STARTING = ["kuberay-cluster.yaml", "kuberay-job.yaml", "ray-up-aws.yaml", "slurm.sbatch"]  # Ray itself
KUBERNETES = "1.35"

CLUSTER_KEYS = {
    "authOptions": {"mode", "secretName", "enableK8sTokenAuth"},
    "autoscalerOptions": {
        *("env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy"),
        *("resources", "securityContext", "upscalingMode", "version", "volumeMounts"),
    },
    "enableInTreeAutoscaling": None,
    "gcsFaultToleranceOptions": None,
    "headGroupSpec": {"headService", "labels", "rayStartParams", "resources", "serviceType", "template"},
    "headServiceAnnotations": None,
    "managedBy": None,
    "rayVersion": None,
    "suspend": None,
    "upgradeStrategy": None,
    "workerGroupSpecs": {
        *("groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams"),
        *("replicas", "resources", "scaleStrategy", "suspend", "template"),
    },
}
JOB_KEYS = {
    *(
        "activeDeadlineSeconds",
        "backoffLimit",
        "clusterSelector",
        "deletionStrategy",
        "entrypoint",
        "entrypointNumCpus",
    ),
    *("entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata", "preRunningDeadlineSeconds"),
    *("rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode", "submitterConfig"),
    *("submitterPodTemplate", "suspend", "ttlSecondsAfterFinished"),
}


def test_all_are_there_and_open_with_what_they_are_for_and_the_commands_that_run_them() -> None:
    names = {*MANIFESTS, *STARTING, "Containerfile", "runtime-env.yaml", "README.md"}
    assert FILES.keys() == names
    for name in names - {"README.md"}:
        lines = FILES[name].removeprefix("#!/bin/bash\n").splitlines()
        head = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
        assert len(head[0]) > 40, name
        assert any(line.startswith("#   ") for line in head), name
        assert name in FILES["README.md"], name


# What the rules forbid: a list of what is wrong with a file.


def wrong_in_manifest(text: str) -> list[str]:
    """Against Kubernetes' schemas, KubeRay's keys, and what a pod may not do."""
    found: list[str] = []
    for document in yaml.safe_load_all(text):
        found += _wrong_as_resource(document)
        if document["kind"] == "PersistentVolumeClaim":
            found += [] if document["spec"]["accessModes"] == ["ReadWriteMany"] else ["not writable from all nodes"]
            continue
        spec = document["spec"]
        cluster = spec["rayClusterSpec"] if document["kind"] == "RayJob" else spec
        found += [f"unknown: {key}" for key in (spec.keys() - JOB_KEYS if document["kind"] == "RayJob" else ())]
        found += list(_unknown_keys(cluster))
        if cluster.get("authOptions") != {"mode": "token"}:
            found.append("no token authentication")
        if cluster["headGroupSpec"].get("serviceType") != "ClusterIP":
            found.append("service reachable from outside")
        for template in _templates(spec):
            found += _wrong_as_resource({"apiVersion": "v1", "kind": "PodTemplate", "template": template})
            found += _wrong_in_pod(template["spec"])
        found += _wrong_in_container({"name": "autoscaler", **cluster["autoscalerOptions"]})
        for group in cluster["workerGroupSpecs"]:
            if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
                found.append("replicas out of their bounds")
    return found


def _wrong_as_resource(document: dict[str, Any]) -> list[str]:
    if document["apiVersion"] == "ray.io/v1":
        return [f"unknown: {key}" for key in document.keys() - {"apiVersion", "kind", "metadata", "spec"}]
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def _unknown_keys(cluster: dict[str, Any]) -> Iterator[str]:
    for key, value in cluster.items():
        if key not in CLUSTER_KEYS:
            yield f"unknown: {key}"
        elif (inner := CLUSTER_KEYS[key]) is not None:
            for each in value if isinstance(value, list) else [value]:
                yield from (f"unknown: {key}.{name}" for name in each.keys() - inner)


def _templates(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "rayClusterSpec" in spec:
        yield spec["submitterPodTemplate"]
        spec = spec["rayClusterSpec"]
    yield spec["headGroupSpec"]["template"]
    yield from (group["template"] for group in spec["workerGroupSpecs"])


def _wrong_in_pod(pod: dict[str, Any]) -> Iterator[str]:
    context = pod.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield "may run as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "without seccomp profile"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield key
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for volume in pod.get("volumes", []):
        if "hostPath" in volume:
            yield "a folder of the node"
    for container in pod["containers"]:
        yield from _wrong_in_container(container)
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"mounts {mount['name']}, which is no volume"


def _wrong_in_container(container: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
        yield f"{container['name']}: privileged"
    if context.get("capabilities", {}).get("drop") != ["ALL"] or context["capabilities"].get("add"):
        yield f"{container['name']}: keeps capabilities"
    if context.get("runAsUser") == 0:
        yield f"{container['name']}: root"
    for kind in ("requests", "limits"):
        if not {"cpu", "memory"} <= container.get("resources", {}).get(kind, {}).keys():
            yield f"{container['name']}: no {kind}"


_IMAGE = re.compile(r"^\s*(?:-\s*)?(?:image:|FROM)\s+(?:&\S+\s+)?([^*\s]\S*)", re.MULTILINE)
_VERSION = re.compile(r".+(:[\w.-]*\d[\w.-]*|@sha256:[0-9a-f]{64})")
_KEYS = re.compile(
    r"AKIA[0-9A-Z]{16}|PRIVATE KEY|\bpassword\s*[:=]|RAY_AUTH_TOKEN=[^\"$]|hf_[A-Za-z0-9]{20}", re.IGNORECASE
)
_OPEN = re.compile(
    r"LoadBalancer|NodePort|kind:\s*Ingress|dashboard-host[=:]\s*\"?(?!127\.0\.0\.1)|runAsUser:\s*0|--privileged"
)


def wrong_in_text(text: str) -> list[str]:
    """What no file may hold."""
    images = _IMAGE.findall(text)
    found = [f"image without version: {image}" for image in images if not _VERSION.fullmatch(image)]
    if re.search(r":latest|:nightly", text):
        found.append("an image that changes")
    found += [f"key material: {match.group()}" for match in _KEYS.finditer(text)]
    found += [f"open: {match.group()}" for match in _OPEN.finditer(text)]
    if len(_commands(text)) == 0 and "raywce search" in text:
        found.append("a search that is not understood")
    return found


def wrong_in_launcher(text: str) -> list[str]:
    """A file for `ray up`, by Ray's own rules."""
    config = yaml.safe_load(text)
    try:
        validate_config(prepare_config(config))
    except Exception as error:
        return [str(error).splitlines()[0]]
    head = config["available_node_types"][config["head_node_type"]]
    found = [] if "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"] else ["no token authentication"]
    if head["resources"] != {"CPU": 0}:
        found.append("training on the head")
    if not any("--dashboard-host=127.0.0.1" in command for command in config["head_start_ray_commands"]):
        found.append("dashboard not bound to this machine")
    return found


def wrong_in_script(text: str) -> list[str]:
    """A Slurm script, by shellcheck."""
    done = subprocess.run(
        [_tool("shellcheck"), "--shell=bash", "-"], input=text, capture_output=True, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if "SC" in line]
    found += [] if "set -euo pipefail" in text else ["goes on after an error"]
    return found + ([] if "export RAY_AUTH_MODE=token" in text else ["no token authentication"])


def wrong_in_image(text: str) -> list[str]:
    """A Containerfile, by hadolint."""
    done = subprocess.run([_tool("hadolint"), "-"], input=text, capture_output=True, text=True, check=False)
    last_user = (re.findall(r"^USER (\S+)", text, re.MULTILINE) or ["0"])[-1]
    found = [] if re.match(r"[1-9]\d*(:|$)", last_user) else ["ends as root, or as a user that can't be checked"]
    return found + done.stdout.splitlines()


def _tool(name: str) -> Path:
    return Path(sys.executable).parent / name


RULES: dict[str, Callable[[str], list[str]]] = {
    **dict.fromkeys(MANIFESTS, wrong_in_manifest),
    "ray-up-aws.yaml": wrong_in_launcher,
    "slurm.sbatch": wrong_in_script,
    "Containerfile": wrong_in_image,
}


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_wrong_in(name: str) -> None:
    assert wrong_in_text(FILES[name]) == []
    assert RULES.get(name, lambda text: [])(FILES[name]) == []


_BROKEN = [
    ("kuberay-job.yaml", ":0.1.0-ray2.60.0", ":latest"),
    ("kuberay-job.yaml", "raywce:0.1.0-ray2.60.0", "raywce"),
    ("kuberay-job.yaml", "allowPrivilegeEscalation: false", "privileged: true"),
    ("kuberay-job.yaml", "runAsUser: 1000", "runAsUser: 0"),
    ("kuberay-job.yaml", "drop: [ALL]", "add: [SYS_ADMIN]"),
    ("kuberay-job.yaml", "mode: token", "mode: disabled"),
    ("kuberay-job.yaml", "backoffLimit", "backOffLimit"),
    ("kuberay-job.yaml", "minReplicas: 0", "minReplicas: 9"),
    ("kuberay-job.yaml", "mountPath", "mountpath"),
    ("kuberay-cluster.yaml", "serviceType: ClusterIP", "serviceType: LoadBalancer"),
    ("kuberay-cluster.yaml", "enableInTreeAutoscaling", "enableAutoscaling"),
    ("kuberay-cluster.yaml", "{name: shm, mountPath", "{name: memory, mountPath"),
    ("kuberay-cluster.yaml", 'limits: {cpu: "4", memory: 24Gi', 'limits: {cpu: "4"'),
    ("kuberay-cluster.yaml", "operator: Exists", "operator: [Exists]"),
    ("kuberay-storage.yaml", "ReadWriteMany", "ReadWriteOnce"),
    ("kuberay-storage.yaml", "storageClassName", "storageClass"),
    ("ray-up-aws.yaml", "2.60.0-py312-gpu", "latest-gpu"),
    ("ray-up-aws.yaml", "max_workers: 8\nidle", "max_worker: 8\nidle"),
    ("ray-up-aws.yaml", "head_node_type: head", "head_node_type: heads"),
    ("ray-up-aws.yaml", "--env RAY_AUTH_MODE=token, ", ""),
    ("ray-up-aws.yaml", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"),
    ("ray-up-aws.yaml", " --dashboard-host=127.0.0.1", ""),
    ("slurm.sbatch", 'shared="${', "shared=${1} ${"),
    ("slurm.sbatch", "set -euo pipefail", "set -e"),
    ("slurm.sbatch", "export RAY_AUTH_MODE=token", ""),
    ("slurm.sbatch", "python -c", "export RAY_AUTH_TOKEN=0123; python -c"),
    ("Containerfile", "2.60.0-py312-gpu", "latest"),
    ("Containerfile", "USER 1000:100", "USER root"),
    ("Containerfile", "--no-cache-dir", ""),
    ("runtime-env.yaml", "env_vars:", "password: hunter2\nenv_vars:"),
    ("runtime-env.yaml", "env_vars:", "key: AKIAABCDEFGHIJKLMNOP\nenv_vars:"),
]


@pytest.mark.parametrize(("name", "what", "by"), _BROKEN, ids=lambda text: str(text).strip()[:30])
def test_a_broken_copy_is_caught(name: str, what: str, by: str) -> None:
    assert what in FILES[name]
    broken = FILES[name].replace(what, by)
    assert wrong_in_text(broken) + RULES.get(name, lambda text: [])(broken)


# The commands.


def _commands(text: str) -> list[list[str]]:
    """The arguments of each `raywce search` of a file, of its comments and of its code."""
    plain = re.sub(r"^[ \t]*#[ \t]?", "", text, flags=re.MULTILINE)
    if "  entrypoint: >-" in text:
        plain = re.sub(r"^  entrypoint: >-\n( {4}.*\n)+", "", plain, flags=re.MULTILINE)
        plain += "\n" + yaml.safe_load(text)["spec"]["entrypoint"]
    joined = re.sub(r"\\\n\s*", " ", plain)
    return [shlex.split(rest.split(" &")[0]) for rest in re.findall(r"\braywce search (\S*\.yaml\b[^\n`|;]*)", joined)]


def _searches() -> Iterator[tuple[str, list[str]]]:
    for name, text in FILES.items():
        yield from ((name, command) for command in _commands(text))


def test_every_way_to_start_ray_has_a_search_for_it() -> None:
    assert {name for name, _ in _searches()} >= {*STARTING, "runtime-env.yaml", "README.md"}


@pytest.mark.parametrize(("name", "command"), _searches(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_search_loads_its_experiment_and_keeps_its_run_on_the_shared_storage(name: str, command: list[str]) -> None:
    path, *overrides = command
    experiment = load(ROOT / path.removeprefix("/home/ray/raywce/"), overrides, check_files=False).experiment
    for place in (experiment.storage, experiment.data.folder, experiment.model.checkpoint):
        assert re.match(r"/shared/|.*\$shared/", place), place


def test_there_are_machines_for_a_trial_of_the_search() -> None:
    wanted = load(ROOT / "search_spaces/galician.yaml", check_files=False).experiment.resources
    job = yaml.safe_load(FILES["kuberay-job.yaml"])["spec"]["rayClusterSpec"]
    cluster = yaml.safe_load(FILES["kuberay-cluster.yaml"])["spec"]
    for spec in (job, cluster):
        (group,) = spec["workerGroupSpecs"]
        has = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert int(has["nvidia.com/gpu"]) >= wanted.gpus_per_worker
        assert int(has["cpu"]) >= wanted.cpus_per_worker
        assert group["maxReplicas"] >= wanted.workers
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    script = FILES["slurm.sbatch"]
    nodes, gpus, cpus = (int(_option(script, name)) for name in ("nodes", "gpus-per-node", "cpus-per-task"))
    assert nodes * min(gpus // wanted.gpus_per_worker, cpus // wanted.cpus_per_worker) >= wanted.workers


def _option(script: str, name: str) -> str:
    (value,) = re.findall(rf"^#SBATCH --{name}=(\S+)$", script, re.MULTILINE)
    return str(value)


def test_a_jobs_working_folder_has_the_whole_package_and_neither_data_nor_runs() -> None:
    from ray._private.runtime_env.packaging import _get_excludes

    excludes = yaml.safe_load(FILES["runtime-env.yaml"])["excludes"]
    is_excluded = _get_excludes(ROOT, excludes)
    package = [path for path in (ROOT / "raywce").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert [path for path in package if is_excluded(path)] == []
    assert all(is_excluded(ROOT / name) for name in ("data/prepared/0.parquet", "runs/a/trials.parquet", ".git/HEAD"))


@pytest.mark.parametrize("name", ["runtime-env.yaml", "kuberay-job.yaml"])
def test_a_job_that_is_stopped_may_save_its_state(name: str) -> None:
    content = yaml.safe_load(FILES[name])
    environment = yaml.safe_load(content["spec"]["runtimeEnvYAML"]) if name == "kuberay-job.yaml" else content
    variables = RuntimeEnv(**environment)["env_vars"]
    assert variables["RAY_JOB_STOP_SIGNAL"] == "SIGINT"
    assert int(variables["RAY_JOB_STOP_WAIT_TIME_S"]) >= 60


# The Slurm script, with stand-ins: srun starts one process as slurmstepd does, with SIGINT as it is by default.

_STAND_INS = {
    "srun": """#!{python}
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
command = sys.argv[sys.argv.index("ray"):]
os.execvp(command[0], command)
""",
    "ray": """#!{python}
import json, os, pathlib, subprocess, sys
at = sys.argv.index("--")
pathlib.Path("ray.json").write_text(json.dumps(sys.argv[1:at]))
token = pathlib.Path(os.environ["RAY_AUTH_TOKEN_PATH"])
pathlib.Path("token.json").write_text(json.dumps([oct(token.stat().st_mode & 0o777), len(token.read_text())]))
sys.exit(subprocess.run(sys.argv[at + 1:]).returncode)
""",
    "raywce": """#!{python}
import json, os, pathlib, sys, time
pathlib.Path("raywce.json").write_text(json.dumps([os.environ["RAY_ADDRESS"], *sys.argv[1:]]))
try:
    time.sleep(float(os.environ["TAKES"]))
except KeyboardInterrupt:
    pathlib.Path("saved").touch()
    sys.exit(130)
sys.exit(3)
""",
    "scontrol": """#!{python}
import pathlib, sys
pathlib.Path("scontrol").write_text(" ".join(sys.argv[1:]))
""",
}


def _batch(folder: Path, takes: float) -> subprocess.Popen[bytes]:
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, text in _STAND_INS.items():
        (tools / name).write_text(text.format(python=sys.executable))
        (tools / name).chmod(0o755)
    (tools / "python").symlink_to(sys.executable)
    (tools / "activate").write_text(f'PATH="{tools}:$PATH"\n')
    (folder / "slurm.sbatch").write_text(FILES["slurm.sbatch"])
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "16", "SLURM_GPUS_ON_NODE": "4"}
    environment = os.environ | slurm | {"SLURMD_NODENAME": "n1", "RAYWCE_SHARED": str(folder), "TAKES": str(takes)}
    return subprocess.Popen(["bash", "slurm.sbatch"], cwd=folder, env=environment)


def _json(file: Path) -> list[str]:
    return list(yaml.safe_load(file.read_text()))


def test_slurm_ends_as_the_search_does_and_leaves_no_token(tmp_path: Path) -> None:
    assert _batch(tmp_path, takes=0).wait(30) == 3
    assert not (tmp_path / "scontrol").exists()
    assert _json(tmp_path / "token.json") == ["0o600", 64]
    assert not list(tmp_path.glob("*.token")) + list(tmp_path.glob("*.pid"))
    address, *command = _json(tmp_path / "raywce.json")
    assert (address, command[:2]) == ("n1:6379", ["search", "search_spaces/galician.yaml"])
    assert any(one.startswith("data.cache=/tmp/") for one in command), "homes are often shared by all nodes"
    arguments = _json(tmp_path / "ray.json")
    assert arguments[:5] == ["symmetric-run", "--address", "n1:6379", "--min-nodes", "2"]
    assert curate_and_validate_ray_start_args(arguments[1:]) == ["--num-cpus=16", "--num-gpus=4"]


def test_before_its_time_limit_slurm_interrupts_the_search_alone_and_queues_again(tmp_path: Path) -> None:
    batch = _batch(tmp_path, takes=60)
    end = time.monotonic() + 30
    while not (tmp_path / "raywce.json").exists() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.2)
    batch.send_signal(signal.SIGUSR1)
    assert batch.wait(30) == 130
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "scontrol").read_text() == "requeue 7"
    assert _option(FILES["slurm.sbatch"], "signal").startswith("B:USR1@")

"""Profiles for other places than one machine, and the container image."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from project import MODELS, ROOT, make_project
from slurm import EXECUTOR

INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "ENTRYPOINT"}
needs_slurm = pytest.mark.skipif(
    not EXECUTOR.exists(), reason="Snakemake's executor for SLURM is not installed"
)


def read_profile(name):
    return yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())


@pytest.fixture
def planned(tmp_path):
    """Return what a dry run of training says, under a profile."""
    project = make_project(tmp_path / "project", {"tiny": MODELS["tiny_2d"]})

    def plan(profile, *options):
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", f"profiles/{profile}"]
        run = subprocess.run(
            [*command, "--dry-run", *options, "train"],
            cwd=project.folder,
            env={**os.environ, "PYTHONPATH": str(EXECUTOR)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout + run.stderr

    return plan


def resources_of(rule, text):
    line = re.search(rf"rule {rule}:\n(?:    .*\n)*?    resources: (.*)\n", text)[1]
    return dict(pair.split("=", 1) for pair in line.split(", "))


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_profile_reruns_what_the_default_profile_reruns(name):
    default, profile = read_profile("default"), read_profile(name)
    del default["resources"]  # elsewhere GPUs are counted by others
    assert default.items() <= profile.items()


def test_the_profile_for_kubernetes_is_known_to_snakemake(planned):
    assert "rule train_fold:" in planned("kubernetes", "--cores", "2")


@needs_slurm
def test_the_profile_for_slurm_limits_what_jobs_ask_for(planned):
    first = resources_of("train_fold", planned("slurm"))
    assert (first["mem_mb"], first["runtime"], first["nodes"]) == ("16000", "1440", "1")


def test_later_attempts_ask_for_more_time_and_memory(planned):
    plans = [planned("default", "--cores", "2", "--attempt", attempt) for attempt in ("2", "6")]
    found = [resources_of("convert_dataset", text) for text in plans]
    assert [resources["mem_mb"] for resources in found] == ["16000", "32000"]
    assert [resources["runtime"] for resources in found] == ["480", "1440"]


def test_the_kubernetes_job_gives_the_pod_what_snakemake_hands_out():
    claim, job = yaml.safe_load_all((ROOT / "profiles/kubernetes/job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    limits = container["resources"]["limits"]
    assert limits == container["resources"]["requests"]
    assert f"--cores={limits['cpu']}" in container["args"]
    assert f"gpu={limits['nvidia.com/gpu']}" in container["args"]
    memory = next(arg for arg in container["args"] if arg.startswith("mem_mb="))
    assert int(memory.removeprefix("mem_mb=")) < 1000 * int(limits["memory"].removesuffix("G"))
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    profile = next(arg for arg in container["args"] if arg.startswith("--workflow-profile="))
    assert (ROOT / profile.split("/opt/segflow/")[1]).is_dir()


@pytest.fixture
def dockerfile():
    """Return the instructions of the Dockerfile with their arguments."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_the_image_starts_from_python_and_ends_in_snakemake(dockerfile):
    assert {name for name, _ in dockerfile} <= INSTRUCTIONS
    assert re.fullmatch(r"python:3\.1[1-3]-slim", dockerfile[0][1])
    name, command = dockerfile[-1]
    assert (name, json.loads(command)[0]) == ("ENTRYPOINT", "snakemake")
    assert "://" not in (ROOT / "Dockerfile").read_text()


def test_the_image_gets_every_file_that_the_workflow_needs(dockerfile):
    copied = {
        source for name, words in dockerfile if name == "COPY" for source in words.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert {"Snakefile", "rules", "workflow", "config", "envs", "resources"} <= copied


def test_the_image_installs_the_lock(dockerfile):
    install = next(words for name, words in dockerfile if name == "RUN" and "uv" in words)
    pattern = re.search(r"sed -n '([^']*)'", install)[1]
    lock = ROOT / "envs/requirements.txt"
    found = subprocess.run(
        ["sed", "-n", pattern, lock], check=True, capture_output=True, text=True
    ).stdout
    assert re.fullmatch(r"uv==[\d.]+\n", found)
    assert "--require-hashes envs/requirements.txt" in install


@pytest.mark.slow
def test_the_image_is_built_where_docker_runs():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode != 0:
        pytest.skip("no docker daemon")
    subprocess.run([docker, "build", "--tag", "segflow-test", ROOT], check=True)
    run = [docker, "run", "--rm", "segflow-test", "--version"]
    subprocess.run(run, check=True)

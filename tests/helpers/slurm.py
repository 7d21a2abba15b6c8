"""A SLURM of one machine for tests: real daemons on loopback, two nodes with one fake GPU each."""

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from project import ROOT

EXECUTOR = ROOT / ".venv/slurm"  # `make test` installs Snakemake's executor there
PROGRAMS = ("sbatch", "srun", "slurmctld", "slurmd", "munged")
# Debian installs the daemons where only root looks.
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
NODES = ("n1", "n2")
SETTINGS = """
ClusterName=segflow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
GresTypes=gpu
ReturnToService=2
# The nodes are said to be larger than the machine, so that jobs start at once.
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=5
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16"
    " RealMemory=256000 Gres=gpu:fake:1"
)


def missing() -> str:
    """Return why no cluster can be started here, or an empty text."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"SLURM is not installed: no {', '.join(absent)}"
    if not EXECUTOR.exists():
        return f"Snakemake's executor for SLURM is not in {EXECUTOR}"
    return "" if os.geteuid() == 0 else "only root can start SLURM"


@dataclass
class Cluster:
    """A running SLURM. Partition `one` has the first node, partition `two` has both."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which SLURM's commands and Snakemake find this cluster."""
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(self.folder / "bin"), PATH]),
            "PYTHONPATH": os.pathsep.join([str(EXECUTOR), os.environ.get("PYTHONPATH", "")]),
            "SLURM_CONF": str(self.folder / "slurm.conf"),
        }

    def call(self, *command: str) -> str:
        """Run one of SLURM's commands and return what it prints."""
        run = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        )
        return run.stdout

    def jobs(self, *states: str) -> list[str]:
        """Return the numbers of jobs in these states, or of those that wait or run."""
        chosen = states or ("PENDING", "RUNNING", "COMPLETING")
        return self.call("squeue", "-h", "-o", "%A", "-t", ",".join(chosen)).split()

    def describe(self, job: str) -> dict[str, str]:
        """Return what SLURM knows of a job."""
        words = self.call("scontrol", "show", "job", "--oneliner", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def start(self) -> None:
        """Start all daemons and wait until both nodes are ready."""
        self._write_settings()
        self.call(
            "munged",
            "--force",
            *(f"--{kind}-file={self.folder}/munge/{kind}" for kind in ("key", "pid", "seed")),
            f"--log-file={self.folder}/munge/log",
            f"--socket={self.folder}/munge/socket",
        )
        self.call("slurmctld", "-i")
        for name in NODES:
            self.call("slurmd", "-N", name)
        self._wait_for(
            lambda: (
                self.call("sinfo", "-h", "-N", "-p", "two", "-t", "idle", "-o", "%N").split()
                == list(NODES)
            )
        )

    def stop(self) -> None:
        """Cancel all jobs and stop all daemons that run."""
        names = (*(f"slurmd-{node}.pid" for node in NODES), "slurmctld.pid", "munge/pid")
        files = [self.folder / name for name in names if (self.folder / name).exists()]
        if len(files) == len(names):
            self.call("scancel", "--user=root")
            self._wait_for(lambda: not self.jobs())
        for file in files:
            process = int(file.read_text())
            os.kill(process, signal.SIGTERM)
            self._wait_for(lambda process=process: not Path(f"/proc/{process}").exists())

    def _wait_for(self, condition, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = [path.read_text()[-2000:] for path in self.folder.glob("*.log")]
                raise TimeoutError("\n".join(["SLURM does not get ready", *logs]))
            time.sleep(0.1)

    def _write_settings(self) -> None:
        for name in ("munge", "state", "bin", "devices", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge/key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        host, ports = socket.gethostname().split(".")[0], free_ports(1 + len(NODES))
        lines = [SETTINGS.format(host=host, folder=self.folder, ports=ports)]
        devices = []
        for name, port in zip(NODES, ports[1:], strict=True):
            lines.append(NODE.format(name=name, host=host, port=port))
            # SLURM counts a GPU only if it has a device file; another null device will do.
            device = self.folder / "devices" / name
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            devices.append(f"NodeName={name} Name=gpu Type=fake File={device}")
        lines += [f"PartitionName=two Nodes={','.join(NODES)} Default=YES"]
        lines += [f"PartitionName=one Nodes={NODES[0]}"]
        (self.folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "gres.conf").write_text("\n".join(devices) + "\n")
        # The executor takes SLURM's variables from a job step, and with them where this
        # private cluster is described; on a site it is described in the usual place.
        shim = self.folder / "bin/srun"
        srun = shutil.which("srun", path=PATH)
        shim.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {srun} "$@"\n')
        shim.chmod(0o755)


def free_ports(count: int) -> list[int]:
    """Return TCP ports of loopback that nothing uses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()

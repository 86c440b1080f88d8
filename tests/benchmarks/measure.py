# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command costs: CPU and memory of its processes here, CPU and bytes of the hosts, SSH connections and executions."""

import glob
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path


class BenchError(Exception):
    """Something did not run, so there is nothing to compare."""


@dataclass(frozen=True)
class Cost:
    """One run. CPU and wall in seconds, memory and bytes in bytes; what is of hosts is the mean of them."""

    cpu: float
    wall: float
    host_cpu: float
    sent: float
    connections: float
    executions: float
    memory: int = 0


@dataclass(frozen=True)
class Command:
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


class Cgroup:
    """CPU accounting on cgroup v1 (also hybrid) and v2."""

    def __init__(self) -> None:
        mounts = [line.split()[1:4] for line in Path("/proc/self/mounts").read_text().splitlines()]
        v1 = [place for place, kind, options in mounts if kind == "cgroup" and "cpuacct" in options.split(",")]
        v2 = [place for place, kind, _options in mounts if kind == "cgroup2"]
        if not v1 and not v2:
            raise BenchError("no cgroup file system is mounted here, so CPU cannot be counted")
        self.v1, self.root = bool(v1), Path((v1 or v2)[0])

    def of(self, pid: int | str) -> Path:
        """The cgroup of a process."""
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if ("cpuacct" in controllers.split(",")) if self.v1 else number == "0":
                return self.root / path.strip("/")
        raise BenchError(f"process {pid} is in no cgroup that counts CPU")

    def of_container(self, pid: int) -> Path:
        """The cgroup of a whole container whose first process is a systemd."""
        path = self.of(pid)
        return path.parent if path.name == "init.scope" else path

    def seconds(self, cgroup: Path) -> float:
        if self.v1:
            return int((cgroup / "cpuacct.usage").read_text()) / 1e9
        found = re.search(r"^usage_usec (\d+)", (cgroup / "cpu.stat").read_text())
        return int(found[1]) / 1e6 if found else 0.0


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    container: str
    pid: int
    cgroup: Path

    def received(self) -> int:
        """Bytes that came in over its interface, of all protocols."""
        for line in Path(f"/proc/{self.pid}/net/dev").read_text().splitlines():
            if line.strip().startswith("eth0:"):
                return int(line.split(":")[1].split()[0])
        raise BenchError(f"{self.name} has no interface eth0")

    def inside(self, script: str) -> str:
        done = subprocess.run(
            ["podman", "exec", "-i", self.container, "bash"], input=script, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"{self.name}: {done.stderr or done.stdout}")
        return done.stdout

    def ssh_lines(self, since: float) -> tuple[int, int]:
        """Connections and executions that its sshd has seen (with LogLevel VERBOSE)."""
        log = self.inside(f"journalctl --sync; journalctl -u ssh -q -o cat --since @{since:.6f}")
        return log.count("Accepted publickey"), log.count("Starting session")


def each(hosts: list[Host], script: str) -> None:
    """Run a script on every host, all at once."""
    threads = [threading.Thread(target=host.inside, args=(script,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(command: Command, hosts: list[Host], cgroups: Cgroup, log: Path, *, memory: bool = False) -> Cost:
    """Run a command in a cgroup of its own, without any SSH connection that was there before."""
    own = cgroups.of("self") / f"bench-{os.getpid()}"
    own.mkdir()
    masters = tempfile.mkdtemp(prefix="afb-")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
    environment |= {"ANSIBLE_SSH_CONTROL_PATH_DIR": masters, "BENCH_MASTERS": masters} | command.env
    procs = str(own / "cgroup.procs")
    try:
        before = [(cgroups.seconds(host.cgroup), host.received()) for host in hosts]
        since, start = time.time(), time.monotonic()
        with open(log, "wb") as output:
            # a shell moves itself, so that nothing of Python's is counted
            argv = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', procs, *command.argv]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
            peak = _watch_memory(process, own) if memory else 0
            process.wait()
        wall, cpu = time.monotonic() - start, cgroups.seconds(own)
        _until_idle(hosts, cgroups)
        after = [(cgroups.seconds(host.cgroup), host.received()) for host in hosts]
    finally:
        _close(masters, own)
    if process.returncode:
        raise BenchError(f"{' '.join(command.argv)} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    seen = [host.ssh_lines(since) for host in hosts]
    count = len(hosts)
    return Cost(
        cpu, wall,
        sum(new[0] - old[0] for old, new in zip(before, after, strict=True)) / count,
        sum(new[1] - old[1] for old, new in zip(before, after, strict=True)) / count,
        sum(item[0] for item in seen) / count, sum(item[1] for item in seen) / count, peak,
    )  # fmt: skip


def _watch_memory(process: "subprocess.Popen[bytes]", cgroup: Path) -> int:
    """The peak of all processes' proportional set sizes, looked at four times a second."""
    peak = 0
    while process.poll() is None:
        total = 0
        for pid in (cgroup / "cgroup.procs").read_text().split():
            try:
                found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            except OSError:
                continue
            total += int(found[1]) * 1024 if found else 0
        peak = max(peak, total)
        time.sleep(0.25)
    return peak


def _until_idle(hosts: list[Host], cgroups: Cgroup) -> None:
    """What a run started on the hosts may go on after it: that is its cost too, and not the next one's."""
    before = sum(cgroups.seconds(host.cgroup) for host in hosts)
    for _attempt in range(60):
        time.sleep(0.5)
        now = sum(cgroups.seconds(host.cgroup) for host in hosts)
        if now - before < 0.01 * len(hosts):
            return
        before = now
    raise BenchError("the hosts do not come to rest")


def _close(masters: str, cgroup: Path) -> None:
    """End the SSH masters that the run left, and its cgroup."""
    for path in glob.glob(f"{masters}/*"):
        subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={path}", "any"], capture_output=True, check=False)
    for attempt in range(100):
        try:
            cgroup.rmdir()
            break
        except OSError:
            for pid in (cgroup / "cgroup.procs").read_text().split() if attempt > 50 else []:
                os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.1)
    else:
        raise BenchError(f"processes are left in {cgroup}")
    for path in glob.glob(f"{masters}/*"):
        os.unlink(path)
    os.rmdir(masters)

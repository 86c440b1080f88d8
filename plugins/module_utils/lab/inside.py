# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab host is asked from inside: has it booted, and does it enforce what its units ask for?

This file is the only one that runs in the host: its source is sent to ``python3 -`` there. It prints one JSON
object: ``{"state": str, "failed": [unit], "not_enforced": [what], "host_key": str}``. The probes run once a boot:
a stamp under ``/run`` remembers that they passed.
"""

import json
import os
import re
import subprocess
import sys
import time
from typing import Any

STAMP = "/run/agentfactory-lab-enforces"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
CONTENT = "not empty"
UNFINISHED = ("", "offline", "unknown", "initializing", "starting")

# Each probe prints the name of what is not enforced, and nothing when all is.
SANDBOX = """
touch /usr/lab-probe 2>/dev/null && echo ProtectSystem
test -e /tmp/lab-probe && echo PrivateTmp
test -e /home/lab-probe && echo ProtectHome
mount -t tmpfs none /mnt 2>/dev/null && echo CapabilityBoundingSet
test "$(cat "$CREDENTIALS_DIRECTORY/plain" 2>/dev/null)" = "not empty" || echo LoadCredential
"""
ENCRYPTED = """
test "$(cat "$CREDENTIALS_DIRECTORY/sealed" 2>/dev/null)" = "not empty" || echo LoadCredentialEncrypted
"""
DYNAMIC_USER = """
test "$(id -u)" -ge 61184 || echo DynamicUser
touch "$STATE_DIRECTORY/lab-probe" || echo StateDirectory
"""
MEMORY = "kept = b'x' * (96 << 20); print('MemoryMax', flush=True)"
TASKS = """
import threading, time
try:
    for _ in range(40):
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
    print('TasksMax', flush=True)
except RuntimeError:
    pass
"""
# On a busy machine time says nothing, so the kernel is asked whether it ever held the unit back while that burns some
# 0.2 s of processor: a hundred times its quota. dash, because Python alone would need seconds to start.
CPU = """
while IFS=: read -r _ names path; do
    stat="/sys/fs/cgroup/$names$path/cpu.stat"
    case "$names" in ''|cpu|cpu,cpuacct|cpuacct,cpu) [ -r "$stat" ] && break ;; esac
done < /proc/self/cgroup
round=0
while [ $round -lt 200 ]; do
    round=$((round+1)); i=0
    while [ $i -lt 2000 ]; do i=$((i+1)); done
    while read -r key value; do
        [ "$key" = nr_throttled ] && [ "$value" -gt 0 ] && exit 0
    done < "$stat"
done
echo CPUQuota
"""


def run(*argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)


def state_after_boot(deadline: float) -> str:
    """The manager's state once it has nothing left to start, or the last one seen at the deadline."""
    state = ""
    while time.monotonic() < deadline:
        left = max(1.0, deadline - time.monotonic())
        state = run("timeout", f"{left:.0f}", "systemctl", "is-system-running", "--wait").stdout.strip()
        if state not in UNFINISHED:
            break
        time.sleep(0.1)
    return state or "unreachable"


def failed_units() -> list[str]:
    lines = run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout.splitlines()
    return [line.split()[0] for line in lines if line.split()]


def waiting_jobs() -> list[str]:
    return run("systemctl", "list-jobs", "--plain", "--no-legend").stdout.splitlines()


def systemd_version() -> int:
    found = re.search(r"systemd (\d+)", run("systemctl", "--version").stdout)
    return int(found.group(1)) if found else 0


def write(path: str, content: str) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(content)


def probe_units() -> dict[str, tuple[list[str], list[str]]]:
    """The probes: name -> (properties of its unit, command)."""
    sandbox = ["ProtectSystem=strict", "PrivateTmp=yes", "ProtectHome=yes", "CapabilityBoundingSet=CAP_DAC_OVERRIDE"]
    sandbox.append("LoadCredential=plain:/run/lab-probe-plain")
    script = SANDBOX
    if systemd_version() >= 250:
        run("systemd-creds", "encrypt", "--name=sealed", "-", "/run/lab-probe-sealed", text=CONTENT)
        sandbox.append("LoadCredentialEncrypted=sealed:/run/lab-probe-sealed")
        script += ENCRYPTED
    python = ["/usr/bin/python3", "-c"]
    return {
        "sandbox": (sandbox, ["/bin/sh", "-c", script]),
        "user": (["DynamicUser=yes", "StateDirectory=lab-probe"], ["/bin/sh", "-c", DYNAMIC_USER]),
        "memory": (["MemoryMax=24M", "MemorySwapMax=0"], [*python, MEMORY]),
        "tasks": (["TasksMax=8"], [*python, TASKS]),
        "cpu": (["CPUQuota=2%"], ["/bin/sh", "-c", CPU]),
    }


def not_enforced() -> list[str]:
    """What a unit of this host asks for in vain; all probes run at once, in units of their own."""
    write("/tmp/lab-probe", "")  # noqa: S108
    write("/home/lab-probe", "")
    write("/run/lab-probe-plain", CONTENT)
    started = {}
    for name, (properties, argv) in probe_units().items():
        command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit=lab-probe-{name}"]
        command += [f"--property={item}" for item in properties]
        started[name] = subprocess.Popen(
            [*command, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
    missing = []
    for name, process in started.items():
        out, err = process.communicate()
        missing += out.split()
        if process.returncode != 0 and name != "memory":  # the memory probe is meant to be killed
            missing.append(f"the {name} probe's unit ({(err or 'exit %d' % process.returncode).strip()})")
    rules = "table inet lab_probe { chain probe { type filter hook output priority 0; meta skuid 1 counter reject; }; }"
    if run("nft", "-f", "-", text=rules).returncode != 0 or run("nft", "delete table inet lab_probe").returncode != 0:
        missing.append("nftables")
    for path in ("/tmp/lab-probe", "/home/lab-probe", "/run/lab-probe-plain", "/run/lab-probe-sealed"):  # noqa: S108
        if os.path.exists(path):
            os.unlink(path)
    return missing


def main(seconds: float) -> dict[str, Any]:
    state = state_after_boot(time.monotonic() + seconds)
    answer: dict[str, Any] = {"state": state, "failed": failed_units(), "not_enforced": [], "host_key": ""}
    if state in UNFINISHED:
        answer["jobs"] = waiting_jobs()
    if state != "running":
        return answer
    if not os.path.exists(STAMP):
        answer["not_enforced"] = not_enforced()
        answer["probed"] = True
        if not answer["not_enforced"]:
            write(STAMP, "")
    with open(HOST_KEY, encoding="utf-8") as stream:
        answer["host_key"] = " ".join(stream.read().split()[:2])
    return answer


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]))))

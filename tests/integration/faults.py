# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults for the tests: kills at the library's checkpoints, power cuts, and what must be true of a host after each."""

import ast
import json
import socket
import subprocess
from pathlib import Path
from typing import Any

from .harness import ROOT, Fleet, Host, until

LIBRARY = ROOT / "plugins" / "module_utils"
AGENT = "probe-agent"
AGENT_ID = "probe-agent@0"
HOME = "/opt/agentfactory/agents/probe-agent/0"
STATE = "/var/lib/agentfactory/probe-agent/0"
UNIT = f"/etc/systemd/system/agentfactory-{AGENT_ID}.service"
PROOF = f"/run/systemd/system.control/agentfactory-{AGENT_ID}.service"
INTENT = "/var/lib/agentfactory/.factory/intents/activation.json"
LEASE = "/var/lib/agentfactory/.factory/locks/lease.json"
ALL_AT_ONCE = {"waves": ["100%"], "max_failures": 3, "rollback": "none"}
"""A host's failure is its own: each host has another fault."""


def _strings_given_to(function: str) -> set[str]:
    """Every literal first argument of the calls of `function` in the host's library; "" for what is not a literal."""
    found = set()
    for path in sorted(LIBRARY.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == function:
                first = node.args[0]
                found.add(str(first.value) if isinstance(first, ast.Constant) else ast.unparse(first))
    return found


def checkpoints() -> list[str]:
    """The names of all points at which the host's library can be killed, read from its source."""
    computed = {"'activate.' + name"}
    given = _strings_given_to("checkpoint")
    assert computed <= given, "Activation.phase() is where the names of phases come from"
    names = (given - computed) | {f"activate.{name}" for name in _strings_given_to("phase")}
    assert all(name.replace(".", "").replace("-", "").isalpha() for name in names), (
        f"cannot be read off the source: {names}"
    )
    return sorted(names)


# -- what is so on a host ---------------------------------------------------------------------------------------------

# One script, so that all of it is of one moment: what would boot, what was proven, how far the activation came.
LOOK = f"""
echo "boots $(sed -n 's/^Environment="AGENT_RELEASE=\\(.*\\)"$/\\1/p' {UNIT} 2>/dev/null)"
echo "enabled $(test -e /etc/systemd/system/multi-user.target.wants/agentfactory-{AGENT_ID}.service && echo yes)"
echo "good $(grep -l '"status":"good"' {HOME}/releases/*/verdict.json 2>/dev/null | awk -F/ '{{print $(NF-1)}}' | xargs)"
echo "phase $(grep -o '"phase":"[a-z]*"' {INTENT} 2>/dev/null | cut -d'"' -f4 | xargs)"
echo "done $(grep -o '"done":[a-z]*' {INTENT} 2>/dev/null | cut -d: -f2)"
echo "activator $(systemctl show -p SubState --value agentfactory-activation.service)"
"""


def look(host: Host) -> dict[str, str]:
    """``boots``, ``enabled``, ``good`` (proven releases), ``phase``, ``done``, ``activator``."""
    return dict(line.partition(" ")[::2] for line in host.sh(LOOK).splitlines())


def boots_proven(seen: dict[str, str]) -> bool:
    """Whether a reboot at the moment of `seen` leads to a proven release (or, before the first one, to nothing)."""
    committing = seen["phase"] == "committing"  # proven, and its verdict is about to be written
    return not seen["boots"] or seen["boots"] in seen["good"].split() or committing


def answers(host: Host) -> str:
    """The release that answers."""
    return str(host.agent()["release"])


def runs_what_boots(host: Host) -> None:
    seen = look(host)
    assert seen["boots"] in seen["good"].split(), f"{host.name}: {seen}"
    assert answers(host) == seen["boots"], f"{host.name}: {seen}"
    assert not host.sh(f"ls {PROOF} 2>/dev/null", check=False), f"{host.name}: still under proof"


def converges(fleet: Fleet, version: str) -> None:
    """A plain deploy ends with `version` everywhere, and the one after it changes nothing."""
    result = fleet.deploy().ok()
    for host in fleet.lab.hosts:
        assert host.agent()["version"] == version, f"{host.name}\n{result.output}"
        runs_what_boots(host)
    again = fleet.deploy().ok()
    assert again.changed == 0, again.output


# -- faults -----------------------------------------------------------------------------------------------------------


def arm(host: Host, name: str) -> None:
    """Have the library die at a checkpoint, once."""
    host.sh(f"mkdir -p /run/agentfactory && echo {name} > /run/agentfactory/fault")


def disarm(host: Host) -> None:
    host.sh(
        "rm -rf /run/agentfactory/fault /run/systemd/system/agentfactory-activation.service.d; systemctl daemon-reload"
    )


def armed(host: Host) -> bool:
    return host.sh("ls /run/agentfactory/fault 2>/dev/null", check=False) != ""


def linger(host: Host, seconds: int) -> None:
    """Have a killed activator stay dead for a while, so that the moment of its death can be looked at."""
    text = f"[Service]\\nRestartSec={seconds}s\\n"
    folder = "/run/systemd/system/agentfactory-activation.service.d"
    host.sh(f"mkdir -p {folder} && printf '{text}' > {folder}/linger.conf && systemctl daemon-reload")


def dead(host: Host) -> dict[str, str] | None:
    """What was so at the moment when the armed fault killed the activator; None while it has not."""
    if armed(host):
        return None
    seen = look(host)
    return seen if seen["activator"] in ("auto-restart", "auto-restart-queued", "dead", "failed") else None


HELD = ["/bin/sh", "-c", "while test -e wait; do sleep 0.1; done"]
"""A preflight that lasts from `hold` to `let_go`: what must happen between the lock and the switch happens then."""


def hold(host: Host) -> None:
    host.sh(f"touch {STATE}/wait")


def let_go(host: Host) -> None:
    host.sh(f"rm -f {STATE}/wait")


def held(host: Host) -> bool:
    return (
        host.sh(f"systemctl is-active agentfactory-preflight-{AGENT_ID.replace('@', '.')}", check=False) == "activating"
    )


def starts_of_the_activator(host: Host) -> int:
    """How often the activator that is at work was started."""
    return 1 + int(host.sh("systemctl show --property=NRestarts --value agentfactory-activation"))


def in_proof(host: Host) -> bool:
    """Whether a release runs under proof: healthy, and baking."""
    script = f"test -e {PROOF} && grep -q baking {INTENT} && systemctl is-active agentfactory-{AGENT_ID}"
    return host.sh(script, check=False) == "active"


def power_cut(host: Host) -> None:
    """Every process of the host is gone at once; then it boots again."""
    podman("kill", host)
    boot(host)


def boot(host: Host) -> None:
    until(lambda: podman("start", host, check=False), f"{host.name} starts")
    booted(host)


def booted(host: Host) -> None:
    """Wait until it is up, with sshd."""

    def up() -> bool:
        state = host.sh("systemctl is-system-running", check=False)
        try:
            with socket.create_connection((host.address, 22), 1) as connection:
                return state in ("running", "degraded") and connection.recv(4) == b"SSH-"
        except OSError:
            return False

    until(up, f"{host.name} is up")


def podman(verb: str, host: Host, *, check: bool = True) -> bool:
    done = subprocess.run(["podman", verb, host.container], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.returncode == 0


def read(host: Host, path: str) -> Any:
    return json.loads(host.sh(f"cat {path}"))


def write(host: Host, path: str, value: Any) -> None:
    host.sh(f"mkdir -p {Path(path).parent} && cat > {path}", data=json.dumps(value))

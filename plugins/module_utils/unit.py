# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd unit of a release: a pure function of what was asked and of systemd's version.

The sandbox denies by default; the manifest's `permissions` open single things. See systemd.exec(5), systemd.service(5) and
systemd.resource-control(5).
"""

import json
import re
from typing import Any, NamedTuple, Optional

from . import credentials
from .credentials import CONFIG
from .layout import Instance

RELEASE = "@release@"
STEPPED_RESTARTS = 254
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
FIRST_RESTART, LONGEST_RESTART, RESTART_STEPS = 2, 300, 8

SANDBOX = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077
LimitCORE=0
KeyringMode=private"""

BACKOFF = (
    'n=$(systemctl show --property=NRestarts --value {unit}); [ "$n" -gt 0 ] 2>/dev/null || exit 0; '
    '[ "$n" -lt 9 ] || n=9; s=$(((1 << n) - 2)); [ "$s" -le 298 ] || s=298; exec sleep "$s"'
)

# After a failure: what the kernel counted in the control group, which ends with the process. (v1 and v2 name the file differently.)
KEEP_OOM_KILLS = (
    '[ "$SERVICE_RESULT" != success ] || exit 0; while IFS=: read -r n c p; do case "$c" in memory|"") '
    'd=/sys/fs/cgroup/$c$p; grep -hs "^oom_kill [1-9]" $d/memory.events $d/memory.oom_control >>{path};; esac; done </proc/self/cgroup'
)


class Spec(NamedTuple):
    """All that decides what the unit says."""

    instance: Instance
    manifest: "dict[str, Any]"
    environment: str
    tree: str
    ports: "dict[str, int]"
    resources: "dict[str, Any]"
    systemd: int = 252
    delivery: str = credentials.ENCRYPTED
    nft: Optional[str] = None


def expand(words: "list[str]", spec: Spec, unit: str) -> "list[str]":
    """Replace ``{port.x}``, ``{config}``, ``{instance}`` and ``{state_dir}`` in a command."""
    values = {"{port.%s}" % name: str(port) for name, port in spec.ports.items()}
    values["{config}"] = "%s/%s" % (credentials.directory(spec.delivery, unit), CONFIG)
    values["{instance}"] = spec.instance.name
    values["{state_dir}"] = "/var/lib/agentfactory/%s/%s" % (spec.instance.agent, spec.instance.name)
    expanded = []
    for word in words:
        for key, value in values.items():
            word = word.replace(key, value)
        expanded.append(word)
    return expanded


def program(word: str, tree: str) -> str:
    """The absolute path of a command's first word: a console script, or a path in the artifact."""
    if word.startswith("/"):
        return word
    inside = word.removeprefix("./")
    return "/opt/agentfactory/trees/%s/%s" % (tree, inside if "/" in inside else "bin/" + inside)


def quote(word: str) -> str:
    """One argument of ExecStart=: specifiers and variables are not expanded."""
    return '"%s"' % _escape(word).replace("$", "$$")


def _escape(text: str) -> str:
    """What may stand between double quotes. Control characters too: a line of a unit ends at CR and NUL as at LF."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return _CONTROL.sub(lambda found: "\\x%02x" % ord(found[0]), escaped)


def command_line(words: "list[str]", spec: Spec, unit: str) -> str:
    first, rest = words[0], expand(words[1:], spec, unit)
    return " ".join([quote(program(first, spec.tree))] + [quote(w) for w in rest])


def environment(spec: Spec, unit: str) -> "dict[str, str]":
    """What the agent sees. `RELEASE` stands where the release's name will be."""
    state = "/var/lib/agentfactory/%s/%s" % (spec.instance.agent, spec.instance.name)
    values = {
        "AGENT_ID": spec.instance.id,
        "AGENT_NAME": spec.instance.agent,
        "AGENT_VERSION": spec.manifest["version"],
        "AGENT_RELEASE": RELEASE,
        "AGENT_INSTANCE": spec.instance.name,
        "AGENT_ENVIRONMENT": spec.environment,
        "AGENT_CONFIG": "%s/%s" % (credentials.directory(spec.delivery, unit), CONFIG),
        "HOME": state,
        "PATH": "/opt/agentfactory/trees/%s/bin:/usr/local/bin:/usr/bin:/bin" % spec.tree,
    }
    if spec.manifest["runtime"]["type"] == "python":
        values.update({"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    for name, port in spec.ports.items():
        values["AGENT_PORT_" + name.upper().replace("-", "_")] = str(port)
    return values


def render(spec: Spec) -> str:
    """The service unit's text, with `RELEASE` for the release's name."""
    health, stop = spec.manifest["health"], spec.manifest["stop"]
    unit = spec.instance.unit
    service = ["Type=%s" % ("notify" if health["notify"] else "exec")]
    service += _common(spec, unit)
    if spec.nft:
        service.append("ExecStartPre=+%s -f /opt/agentfactory/agents/%s/%s/releases/%s/egress.nft"
                       % (spec.nft, spec.instance.agent, spec.instance.name, RELEASE))  # fmt: skip
    service.append("ExecStart=" + command_line(spec.manifest["command"], spec, unit))
    service += ["KillSignal=" + stop["signal"], "TimeoutStopSec=%g" % stop["timeout"]]
    service += _restarts(spec)
    service.append("ExecStopPost=-+" + _shell(KEEP_OOM_KILLS.format(path=spec.instance.oom_kills)))
    home = "/var/lib/agentfactory /opt/agentfactory"
    return "\n".join(
        ["# Written by agentfactory.core; changes are seen as drift and replaced.", "[Unit]",
         "Description=Agent %s (%s)" % (spec.instance.id, _CONTROL.sub(" ", spec.manifest["description"]).replace("%", "%%")),
         "Wants=network-online.target", "After=network-online.target", "RequiresMountsFor=" + home,
         "StartLimitIntervalSec=0", "", "[Service]"]
        + service + ["", "[Install]", "WantedBy=multi-user.target", ""]
    )  # fmt: skip


def render_preflight(spec: Spec) -> str:
    """A unit that runs the manifest's preflight command once, in the very sandbox of the release. Firewall rules: see activation."""
    unit = spec.instance.preflight_unit
    words = spec.manifest["health"]["preflight"]
    lines = ["Type=oneshot"] + _common(spec, unit) + ["ExecStart=" + command_line(words, spec, unit)]
    lines.append("TimeoutStartSec=%g" % spec.manifest["health"]["start_timeout"])
    return "\n".join(["[Unit]", "Description=Preflight of agent %s" % spec.instance.id, "", "[Service]"] + lines + [""])


def _common(spec: Spec, unit: str) -> "list[str]":
    instance = spec.instance
    lines = ["User=" + instance.user, "Group=" + instance.user, "Slice=" + instance.slice]
    groups = spec.manifest["permissions"]["groups"]
    if groups:
        lines.append("SupplementaryGroups=" + " ".join(groups))
    for key, value in sorted(environment(spec, unit).items()):
        lines.append("Environment=" + _environment_word(key, value))
    state = "agentfactory/%s/%s" % (instance.agent, instance.name)
    lines += ["StateDirectory=" + state, "StateDirectoryMode=0700", "WorkingDirectory=/var/lib/" + state]
    lines += _credentials(spec, unit) + _resources(spec) + SANDBOX.splitlines() + _permissions(spec)
    return lines


def _shell(script: str) -> str:
    """A shell with its script, as systemd reads command lines."""
    return '/bin/sh -c "%s"' % script.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")


def _environment_word(key: str, value: str) -> str:
    text = json.dumps("%s=%s" % (key, value), ensure_ascii=False)
    return text.replace("%", "%%")


def _credentials(spec: Spec, unit: str) -> "list[str]":
    base = "/opt/agentfactory/agents/%s/%s/releases/%s" % (spec.instance.agent, spec.instance.name, RELEASE)
    if spec.delivery == credentials.BOUND:
        shown = credentials.directory(spec.delivery, unit)
        runtime = ["RuntimeDirectory=agentfactory/" + unit, "RuntimeDirectoryMode=0700"]
        return runtime + [
            "BindReadOnlyPaths=%s/credentials:%s" % (base, shown),
            'Environment="CREDENTIALS_DIRECTORY=%s"' % shown,
        ]
    kind = "LoadCredentialEncrypted" if spec.delivery == credentials.ENCRYPTED else "LoadCredential"
    lines = ["LoadCredential=%s:%s/%s" % (CONFIG, base, CONFIG)]
    return lines + ["%s=%s:%s/credentials/%s" % (kind, n, base, n) for n in sorted(spec.manifest["secrets"])]


def _resources(spec: Spec) -> "list[str]":
    lines = ["TasksMax=%d" % spec.resources["tasks"]]
    if spec.resources.get("cpu"):
        # In tenths of a percent: systemd 247 drops the limit when it finds more digits.
        lines.append("CPUQuota=%g%%" % max(round(spec.resources["cpu"] * 100, 1), 0.1))
    if spec.resources.get("memory"):
        lines += ["MemoryMax=%d" % spec.resources["memory"], "MemorySwapMax=0"]
    return lines + ["CPUAccounting=yes", "MemoryAccounting=yes", "TasksAccounting=yes", "IPAccounting=yes"]


def _permissions(spec: Spec) -> "list[str]":
    allowed = spec.manifest["permissions"]
    capabilities = " ".join(allowed["capabilities"])
    lines = ["CapabilityBoundingSet=" + capabilities, "AmbientCapabilities=" + capabilities]
    network = spec.ports or allowed["outbound"]
    lines.append("RestrictAddressFamilies=AF_UNIX" + (" AF_INET AF_INET6" if network else ""))
    if not network:
        lines.append("PrivateNetwork=yes")
    if not allowed["jit"]:
        lines.append("MemoryDenyWriteExecute=yes")
    if allowed["proc"] == "own":
        lines += ["ProtectProc=invisible", "ProcSubset=pid"]
    if allowed["devices"]:
        lines += ["DevicePolicy=closed"] + ['DeviceAllow="%s" rw' % _escape(d) for d in allowed["devices"]]
    else:
        lines.append("PrivateDevices=yes")
    lines += ['ReadWritePaths="%s"' % _escape(p) for p in allowed["write"]]
    if not capabilities and not allowed["devices"] and not allowed["groups"] and not allowed["write"]:
        lines.append("PrivateUsers=yes")
    return lines


def _restarts(spec: Spec) -> "list[str]":
    """First after 2 s, growing to 5 min, never giving up: about 290 a day at the most."""
    lines = ["Restart=always", "RestartSec=%d" % FIRST_RESTART]
    timeout = spec.manifest["health"]["start_timeout"]
    if spec.systemd >= STEPPED_RESTARTS:
        lines += ["RestartSteps=%d" % RESTART_STEPS, "RestartMaxDelaySec=%d" % LONGEST_RESTART]
        return lines + ["TimeoutStartSec=%g" % timeout]
    lines.append("ExecStartPre=+" + _shell(BACKOFF.format(unit=spec.instance.unit)))
    return lines + ["TimeoutStartSec=%g" % max(timeout, LONGEST_RESTART + 30)]

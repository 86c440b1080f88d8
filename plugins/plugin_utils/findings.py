# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a host and its agents, in plain words, and what to do next. Pure: from what `diagnosis` gathered.

Each rule looks at one thing and yields what it found. What explains other findings comes first: the order of `RULES`, within
a severity, is the order in which one should look.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict

from .ends import MEBI, RECENT, Ends, how, times, told_at
from .host_findings import Facts, Finding, of_host

SEVERITIES = ("error", "warning", "info")


def conclude(facts: Facts, host: str, now: float) -> list[dict[str, str]]:
    """The findings, the worst first. `now` is the controller's clock (Unix s)."""
    found = [*of_host(facts, now)]
    for instance in facts["instances"]:
        mine = [finding for rule in RULES for finding in rule(instance, facts)]
        found += mine or [_nothing(instance)]
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    if not facts["instances"]:
        found.append(Finding("info", "host", "no-agents", "no agent is here, and none that was asked for is declared"))
    here = [asdict(finding) for finding in found]
    for finding in here:
        finding["next"] = finding["next"].replace("{host}", host)
    return here


def silent(result: Facts) -> list[dict[str, str]]:
    """The finding on a host that gave no answer; `result` is its task's."""
    told = " ".join(str(result.get("msg") or "no answer").split())
    if result.get("unreachable"):
        found = Finding(
            "error", "host", "unreachable", f"cannot be reached: {told}",
            "is it on? does ssh to it work from here, with this user and key? its agents may well run",
        )  # fmt: skip
    else:
        found = Finding(
            "error", "host", "no-answer", f"could not be asked: {told}", "mend what it says, then diagnose again"
        )
    return [asdict(found)]


def _nothing(instance: Facts) -> Finding:
    if instance["state"] == "stopped":
        return Finding("info", instance["agent_id"], "stopped", "is stopped, as it is meant to be")
    if instance["state"] == "proving":
        return Finding("info", instance["agent_id"], "proving", "is being proven", "wait for the end of the activation")
    return Finding("info", instance["agent_id"], "healthy", f"is healthy ({instance['health']}); nothing to do")


# -- an instance: what stops it from running --------------------------------------------------------------------------


def _missing(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    if instance["state"] == "missing":
        yield _of(
            instance,
            "error",
            "missing",
            f"is not on this host: {'; '.join(instance['drift'])}",
            _again("deploy", instance),
        )


def _secrets(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    for name, condition in instance.get("secrets", {}).items():
        if condition != "here":
            yield _of(instance, "error", "secret", f"its secret {name} is {condition} on this host",
                      f"{_again('deploy', instance)}: it is staged anew")  # fmt: skip


def _ports(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    """Somebody else on its ports; or it, elsewhere than it should."""
    if instance.get("network_namespace") != "host":
        return
    own = [item["port"] for item in instance["listeners"] if item["own"]]
    for name, port in instance["wanted_ports"].items():
        foreign = [item for item in _foreign(instance) if item["port"] == port]
        for item in foreign[:1]:
            who = f"uid {item['uid']}" + (f" ({item['user']})" if item["user"] else "")
            program = f", {item['program']} (pid {item['pid']})" if item["pid"] else ""
            yield _of(instance, "error", "port-taken", f"port {port} ({name}) is taken by {who}{program}",
                      "stop that, or give the agent other ports in fleet.yml and deploy")  # fmt: skip
        if instance["state"] in ("running", "proving") and port not in own and not foreign and not _starting(instance):
            elsewhere = sorted({other for other in own if other not in instance["wanted_ports"].values()})
            where = f"; it listens on {', '.join(map(str, elsewhere))} instead" if elsewhere else ""
            yield _of(instance, "error", "not-listening", f"runs, but does not listen on port {port} ({name}){where}",
                      f"it must listen on AGENT_PORT_{name.upper().replace('-', '_')}; its last lines may say why it does not")  # fmt: skip


def _foreign(instance: Facts) -> list[Facts]:
    ports = instance["wanted_ports"].values() if instance.get("network_namespace") == "host" else ()
    return [item for item in instance["listeners"] if item["port"] in ports and not item["own"]]


def _ended(instance: Facts, facts: Facts) -> Iterator[Finding]:
    """How it ended, again and again: for memory, by itself, or because systemd could not even start it."""
    ends = Ends.of(instance, facts["host"]["time"])
    if ends.last is None:
        return
    severity = "error" if ends.still or not instance["healthy"] else "warning"
    since = f"{times(ends.count)} since {told_at(ends.since)}"
    if ends.memory:
        limit = instance["limits"].get("memory")
        what = f"was killed {ends.memory} {since}" + (f"; its limit is {limit / MEBI:.1f} MiB" if limit else "")
        yield _of(instance, severity, "out-of-memory", what,
                  "raise resources.memory in fleet.yml and deploy, or find what it keeps")  # fmt: skip
        return
    meaning, hint = ends.of_systemd or ("", "")
    if meaning:
        yield _of(instance, severity, "cannot-start", f"cannot be started, {since}: {meaning}", hint)
        return
    words = f"; its last words: {ends.words}" if ends.words else ""
    kind = "crash-loop" if ends.still else "ended"
    lived = f" within {ends.lived:.0f} s of its start" if ends.lived is not None and ends.lived < RECENT else ""
    yield _of(instance, severity, kind, f"ended with {how(ends.last)}{lived}, {since}{words}",
              "free its port first" if _foreign(instance) else _mend(instance))  # fmt: skip


def _not_running(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    """It does not run, and did not end by itself."""
    declared_started = "is declared started" in instance["drift"]
    if instance["state"] == "stopped" and (declared_started or _meant_to_run(instance)):
        stops = [change for change in instance["history"] if change["action"] == "stop"]
        who = f": {stops[-1]['who'].get('user')} stopped it at {stops[-1]['at']}" if stops else ""
        yield _of(
            instance,
            "error",
            "stopped",
            f"does not run and should{who} ({instance['unit_says']})",
            _again("start", instance),
        )
    elif instance["state"] == "failed" and not instance["invocations"]:
        yield _of(instance, "error", "failed", f"does not run: {instance['unit_says']}", _again("restart", instance))
    elif instance["state"] == "not activated" and not _void(instance):
        yield _of(instance, "error", "not-activated", f"{instance['staged'] or 'a release'} is here, but was never activated",
                  _again("deploy", instance))  # fmt: skip


def _meant_to_run(instance: Facts) -> bool:
    """Without a declaration the host's own record says: what starts at boot is meant to run."""
    return bool(instance.get("enabled")) and "is declared stopped" not in instance["drift"]


def _unhealthy(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    since = f"{instance.get('uptime_seconds') or 0:.0f} s"
    if _starting(instance):
        until = instance["health_checks"]["start_timeout"]
        yield _of(instance, "info", "starting", f"was started {since} ago, and has {until:g} s to be healthy ({instance['health']})",
                  "diagnose again")  # fmt: skip
    elif instance["state"] == "running" and not instance["healthy"]:
        yield _of(instance, "error", "unhealthy", f"runs since {since}, but {instance['health']}",
                  f"read its last lines; {_again('restart', instance)}; {_mend(instance)}")  # fmt: skip


def _starting(instance: Facts) -> bool:
    timeout = instance.get("health_checks", {}).get("start_timeout", 0)
    return instance["state"] == "running" and not instance["healthy"] and (instance["uptime_seconds"] or 0) < timeout


def _undone(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    """What was tried and is not what runs."""
    found = _void(instance)
    if found:
        why = found["evidence"].get("summary", "it failed its activation")
        runs = instance["state"] in ("running", "proving", "stopped")
        yield _of(instance, "warning" if runs else "error", "void", f"release {found['release']} is void: {why}",
                  "fix the agent and give it a new version; or, if the host was to blame, deploy with -e retry=true")  # fmt: skip


def _void(instance: Facts) -> Facts | None:
    """The newest release, if it failed and is what the fleet still asks for (or nothing else is there)."""
    newest = instance["releases"][-1] if instance["releases"] else None
    declared = f"version {newest['version']} is declared" if newest else ""
    if not newest or newest["status"] != "void":
        return None
    return newest if declared in instance["drift"] or instance["staged"] == newest["release"] else None


# -- an instance: what is not as it should be -------------------------------------------------------------------------


def _drift(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    """But for what the other rules have said already."""
    said = ("is declared started",)
    for drift in instance["drift"]:
        if drift == "is not declared":
            yield _of(instance, "warning", "drift", "is here, but is not declared",
                      "declare it in fleet.yml, or deploy: then it is removed")  # fmt: skip
        elif drift == "is declared stopped":
            yield _of(instance, "warning", "drift", "runs, but is declared stopped", _again("deploy", instance))
        elif drift not in said and instance["state"] not in ("missing", "not activated"):
            yield _of(
                instance, "warning", "drift", f"is not as recorded or declared: {drift}", _again("deploy", instance)
            )


def _egress(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    if instance.get("refused_packets"):
        yield _of(instance, "warning", "egress-refused",
                  f"permissions.outbound refused {instance['refused_packets']} packets since it was started",
                  "list what it must reach in its manifest, loopback too; or ask why it tries")  # fmt: skip


def _near_limits(instance: Facts, _facts: Facts) -> Iterator[Finding]:
    usage, limits = instance.get("usage") or {}, instance.get("limits") or {}
    for what, used, limit in (("memory", usage.get("memory_bytes"), limits.get("memory")),
                              ("tasks", usage.get("tasks"), limits.get("tasks"))):  # fmt: skip
        if used and limit and used > 0.9 * limit:
            yield _of(instance, "warning", f"near-limit-{what}", f"uses {used / limit:.0%} of resources.{what}",
                      f"raise resources.{what} in fleet.yml and deploy, or find what it keeps")  # fmt: skip
    periods, throttled = usage.get("cpu_periods") or 0, usage.get("cpu_throttled_periods") or 0
    if periods > 100 and throttled > 0.25 * periods:
        yield _of(instance, "warning", "throttled", f"was held back by resources.cpu in {throttled / periods:.0%} of the time",
                  "raise resources.cpu in fleet.yml and deploy; slow answers may come of it")  # fmt: skip


RULES: tuple[Callable[[Facts, Facts], Iterator[Finding]], ...] = (
    _missing, _secrets, _ports, _ended, _not_running, _unhealthy, _undone, _drift, _egress, _near_limits,
)  # fmt: skip


def _of(instance: Facts, severity: str, kind: str, text: str, next_: str) -> Finding:
    return Finding(severity, instance["agent_id"], kind, text, next_)


def _again(verb: str, instance: Facts) -> str:
    return f"ansible-playbook agentfactory.core.{verb} -e agents={instance['agent']} --limit {{host}}"


def _mend(instance: Facts) -> str:
    """Back to a good release if there is another one than what runs, else forward to a fixed one."""
    older = [
        r["release"] for r in instance["releases"] if r["status"] == "good" and r["release"] != instance["release"]
    ]
    fix = "fix it and deploy a new version"
    return f"{_again('rollback', instance)} (goes back to {older[-1]}); or {fix}" if older else fix

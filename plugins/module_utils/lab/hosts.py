# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's hosts: containers that boot systemd, on a network of their own."""

import concurrent.futures
import json
import pkgutil
from typing import Any, Callable, Optional

from . import inside
from .command import LabError, installed, run
from .plan import Plan, Present, Wanted

LABEL = "io.agentfactory.lab"
AT_ONCE = 8
# Read once and before any thread: inspect.getsource() is not safe among threads where modules come out of an archive.
INSIDE = (pkgutil.get_data(inside.__name__.rpartition(".")[0], "inside.py") or b"").decode()


def each(work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """``work`` on every item, several at a time; one LabError with all that went wrong."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(work, item) for item in items]
    problems = [str(future.exception()) for future in futures if future.exception()]
    if problems:
        raise LabError("\n".join(problems))
    return [future.result() for future in futures]


def network_subnet(lab: str) -> Optional[str]:
    """The subnet of the lab's network; None where there is no such network."""
    if not installed("podman"):
        return None
    listed = json.loads(run("podman", "network", "ls", "--format", "json", "--filter", f"name=^{lab}$") or "[]")
    subnets = [subnet["subnet"] for network in listed for subnet in network.get("subnets", [])]
    return subnets[0] if subnets else None


def create_network(lab: str, subnet: str) -> str:
    """Make the lab's network and return its subnet; podman chooses a free one where none is asked for."""
    wanted = ["--subnet", subnet] if subnet else []
    run("podman", "network", "create", "--disable-dns", "--label", f"{LABEL}={lab}", *wanted, lab)
    made = network_subnet(lab)
    if made is None:
        raise LabError(f"podman made a network {lab} without a subnet")
    return made


def remove_network(lab: str) -> None:
    run("podman", "network", "rm", "--force", lab)


def present(lab: str) -> list[Present]:
    """The lab's containers, also those of other hosts than are wanted now."""
    if not installed("podman"):
        return []
    listed = json.loads(run("podman", "ps", "--all", "--format", "json", "--filter", f"label={LABEL}={lab}") or "[]")
    return [
        Present(
            container=item["Names"][0],
            state=item["State"],
            spec=item["Labels"].get(f"{LABEL}.spec", ""),
            address=item["Labels"].get(f"{LABEL}.address", ""),
        )
        for item in listed
    ]


def create(lab: str, host: Wanted, address: str) -> None:
    labels = {LABEL: lab, f"{LABEL}.spec": host.spec, f"{LABEL}.address": address}
    options = [f"--label={key}={value}" for key, value in labels.items()]
    options += [f"--name={host.container}", f"--hostname={host.name}", f"--network={lab}", f"--ip={address}"]
    # As on a machine, `reboot` inside ends in a host that is up again.
    options += ["--restart=always", "--stop-signal=SIGRTMIN+3", *host.flags]
    try:
        run("podman", "run", "--detach", *options, host.image, "/sbin/lab-init", timeout=60)
    except LabError as error:
        raise LabError(f"{host.container}: {error}") from error


def remove(container: str) -> None:
    run("podman", "rm", "--force", "--volumes", "--time=0", container, timeout=60)


def apply(lab: str, plan: Plan) -> None:
    """Carry out a plan; what was done before a failure stays, and the next plan goes on from there."""
    each(remove, list(plan.remove))
    each(lambda host: create(lab, host, plan.addresses[host.container]), list(plan.create))
    each(lambda container: run("podman", "start", container, timeout=60), list(plan.start))


def ask(container: str, seconds: float) -> dict[str, Any]:
    """Wait for the host's boot and what :mod:`inside` found there; LabError names the host and what is wrong."""
    argv = ["podman", "exec", "--interactive", container, "python3", "-", str(seconds)]
    try:
        answer: dict[str, Any] = json.loads(run(*argv, text=INSIDE, timeout=seconds + 30))
    except LabError as error:
        state = run("podman", "inspect", "--format", "{{.State.Status}}", container).strip()
        raise LabError(f"{container}: no answer from inside, its container is {state}: {error}") from error
    if answer["state"] != "running":
        failed = ", ".join(answer["failed"]) or "none"
        jobs = "; ".join(answer.get("jobs", [])) or "none"
        raise LabError(
            f"{container}: not booted within {seconds:.0f} s: systemd says {answer['state']}; "
            f"failed units: {failed}; waiting jobs: {jobs}"
        )
    if answer["not_enforced"]:
        raise LabError(f"{container}: its units run without {', '.join(answer['not_enforced'])}")
    return answer

# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions that work on a host have in common: the connection, the request, the ledger, and how it is told."""

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.template import is_trusted_as_template

from ..module_utils.layout import meant
from . import declare, transfer, whoami
from .argspec import names
from .artifact import ArtifactError
from .ledger import Ledger, LedgerError
from .remote import Remote, RemoteError, Unpackaged
from .run import Kept, RunError

ENVIRONMENT_UNSET = (
    "agentfactory_environment is not defined for this host: is it in a fleet, and under its `managed` pattern?"
)


class AgentAction(ActionBase):  # type: ignore[misc]
    """Base of the host-side actions. Subclasses give `SPEC` and `work`."""

    SPEC: Mapping[str, Any] = {}
    PHASE = ""
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate, work, tell. What the host or a declaration says is wrong becomes a failed result, and a ledger record."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.variables = task_vars or {}
        self.host = self.play_host = str(self.variables.get("inventory_hostname", ""))
        if self._task.delegate_to:  # then it is about that host: its connection, and so its variables
            self.host = str(self._task.delegate_to)
            self.variables = self.variables["ansible_delegated_vars"][self.host]
            self._templar: Any = self._templar.copy_with_new_env(available_variables=self.variables)
        _validated, self.options = self.validate_argument_spec(argument_spec=dict(self.SPEC))
        self.ledger = Ledger.under_way()
        try:
            result.update(self.work())
        except AnsibleConnectionFailure as error:
            # In an activation nobody knows how far the host got: an undo has to ask it.
            self.record("unreachable", switched=self.PHASE == "activate", messages=[f"unreachable: {error}"])
            if not self.may_be_away():
                raise
            result.update(changed=False, skipped=True, skip_reason=f"lost, as the plan has it: {error}")
        except (RemoteError, declare.DeclarationError, ArtifactError, LedgerError, RunError) as error:
            self.record("failed", messages=str(error).splitlines())
            result.update(failed=True, msg=str(error))
        return result

    def work(self) -> dict[str, Any]:
        raise NotImplementedError

    def may_be_away(self) -> bool:
        """Whether a plan has lost this host, so that it need not be there to be staged."""
        return self.PHASE == "stage" and self.host in (self.ledger.begin() or {}).get("lost", [])

    def record(self, status: str, **more: Any) -> None:
        """Write to the run's ledger how this host fared, if there is one."""
        if self.PHASE:
            self.ledger.append({"phase": self.PHASE, "host": self.host, "status": status, **more})  # type: ignore[arg-type]

    def tell(self, line: str) -> None:
        self._display.display(f"  {self.host}: {line}")

    # -- the host -------------------------------------------------------------------------------------------------

    def remote(self) -> Remote:
        def execute(command: str, data: bytes) -> dict[str, Any]:
            prefix = self._compute_environment_string()
            return dict(self._low_level_execute_command(f"{prefix} {command}".strip(), sudoable=True, in_data=data))

        interpreter = self.variables.get("ansible_python_interpreter")
        return Remote(execute, self._templar.template(interpreter) if interpreter else None, self.tell)

    def request(self, operation: str, **more: Any) -> dict[str, Any]:
        """The part of a request that all operations share."""
        return {
            "op": operation, "check": bool(self._task.check_mode), "diff": bool(self._task.diff), "environment": self.environment(),
            "who": whoami.who(self.variables, self.acting_as()), "only": self.only(), **more,
        }  # fmt: skip

    # -- the declarations -----------------------------------------------------------------------------------------

    def variable(self, name: str, missing: str) -> Any:
        if name not in self.variables:
            raise declare.DeclarationError(missing)
        return self._templar.template(self.variables[name])

    def environment(self) -> str:
        return str(self.variable("agentfactory_environment", ENVIRONMENT_UNSET))

    def artifacts(self) -> str:
        return os.path.expanduser(str(self.variable("agentfactory_artifacts", "agentfactory_artifacts is not defined")))

    def keep(self) -> int:
        """How many good releases of each instance stay on a host."""
        given = self._templar.template(self.variables.get("agentfactory_keep", 3))
        if isinstance(given, bool) or not str(given).isdecimal() or int(given) < 1:
            raise declare.DeclarationError(f"agentfactory_keep: must be a whole number from 1, not {given!r}")
        return int(given)

    def retry(self) -> bool:
        """Whether a release that failed may be tried again."""
        return str(self.variables.get("retry", "")).lower() in ("true", "yes", "1")

    def acting_as(self) -> str:
        given = self.variables.get("agentfactory_acting_as")
        return str(self._templar.template(given)) if given else ""

    def only(self) -> list[str] | None:
        """What this task is about, as agents' names and agent ids; None for all."""
        given = self.options.get("only")
        if given is None:
            given = self._only_in_run
        return None if given is None else names(given)

    @cached_property
    def _only_in_run(self) -> list[str] | None:
        """What the whole run is about. Its tasks need not say it: each host's fork would compile a template for that."""
        found: list[str] | None = (self.ledger.begin() or {}).get("only")
        return found

    def declarations(self) -> list[dict[str, Any]]:
        """The host's declarations, raw. That they are not defined is an error, never "none"."""
        if "agentfactory_agents" not in self.variables:
            raise declare.DeclarationError("agentfactory_agents is not defined for this host: it is not in a fleet")
        raw = self.variables["agentfactory_agents"]
        found = self._templar.template(raw) if isinstance(raw, str) else raw
        only = self.only()
        if only is None:
            return list(found)
        narrowed = [dict(d, instances=[i for i in d["instances"] if meant(f"{d['name']}@{i}", only)]) for d in found]
        return [item for item in narrowed if item["instances"]]

    def agents(self) -> list[dict[str, Any]]:
        """The request's agents: every declaration that is not ``absent``, templated."""
        wanted = [item for item in self.declarations() if item["state"] != "absent"]
        secrets = self.variables.get("agentfactory_secrets", {})
        return declare.build(wanted, secrets, self.artifacts(), self._templar.template, is_trusted_as_template)

    # -- staging --------------------------------------------------------------------------------------------------

    def stage(self, state: str) -> dict[str, Any]:
        """Ask the host, check what changes, send what it lacks; returns the host's answer with ``sent`` bytes."""
        agents = self.agents()
        self.keep()  # what only the activation needs is wrong before anything is changed
        try:
            return self._stage(state, agents)
        except Unpackaged as refused:
            if not self._package(agents, refused):
                raise
        return self._stage(state, agents)

    def _package(self, agents: list[dict[str, Any]], refused: Unpackaged) -> bool:
        """Package for a host that packaging has not asked, if it can be done here."""
        from .platforms import extend
        from .tree import PackageError

        sources = self._templar.template(self.variables.get("agentfactory_sources", {}))
        try:
            return extend(agents, refused.target, sources, self.artifacts(), check=bool(self._task.check_mode))
        except (PackageError, OSError) as error:
            raise RemoteError(f"{refused}\nPackaging for it failed: {error}") from error

    def _stage(self, state: str, agents: list[dict[str, Any]]) -> dict[str, Any]:
        remote = self.remote()
        request = self.request("stage", state=state, agents=agents, retry=self.retry(), ask=True)
        stock = transfer.Stock(agents, self.artifacts())
        sent = 0

        def everything() -> tuple[dict[str, Any], Kept]:
            nonlocal sent
            declare.validate(agents, self.artifacts(), self.host)
            wanted, payload = stock.everything()
            sent = len(payload)
            return dict(request, ask=False, **wanted), payload

        ask_first = self._task.check_mode or not agents or stock.depends_on_host
        answer = remote.call(request, to_new_host=None if ask_first else everything)
        answer["sent"] = sent
        if "received" in answer:  # and done
            return answer
        if not answer["staging"] and not answer["activation"]:
            return answer
        declare.validate(agents, self.artifacts(), self.host)
        if self._task.check_mode or not answer["staging"]:
            return answer
        return self._send(remote, dict(request, ask=False), stock, answer)

    def _send(
        self, remote: Remote, request: dict[str, Any], stock: transfer.Stock, first: dict[str, Any]
    ) -> dict[str, Any]:
        need, sent = first.get("need", {}), first["sent"]
        for _round in range(4):
            wanted, payload = stock.lacking(need)
            answer = remote.call(dict(request, **wanted), payload)
            sent += len(payload)
            need = answer.get("need", {})
            if not need:
                return dict(answer, sent=sent, staging=first["staging"], diff=first["diff"])
        raise RemoteError(f"the host still lacks {need} after it was sent")


def in_short(changes: list[dict[str, str]]) -> list[str]:
    """The host's changes, one line an agent: ``thermostat: code, 2 x user, 2 x release``."""
    agents: dict[str, dict[str, int]] = {}
    for item in changes:
        if item["kind"] != "stage":  # the note of what comes next goes with everything
            counts = agents.setdefault(item["subject"].split("@")[0], {})
            kind = "code" if item["kind"] == "tree" else item["kind"]
            counts[kind] = counts.get(kind, 0) + 1
    return [
        f"{agent}: "
        + ", ".join(kind if count == 1 or kind == "code" else f"{count} {kind}s" for kind, count in counts.items())
        for agent, counts in agents.items()
    ]


def as_lines(changes: list[dict[str, str]]) -> list[str]:
    """The host's changes for people."""
    return [f"{item['subject']}: {item['kind']} ({item['reason']})" for item in changes]


def chosen(answer: dict[str, Any]) -> dict[str, str]:
    """agent id -> the release that staging chose for it, of what is to be activated."""
    return {item["subject"]: answer["releases"][item["subject"]] for item in answer["activation"]}


class AskingAction(AgentAction):
    """Base of the actions that only ask: also a host of no fleet is asked, and nothing is left behind on any."""

    def environment(self) -> str:
        return str(self._templar.template(self.variables.get("agentfactory_environment", "")))

    def ask(self, operation: str, **more: Any) -> dict[str, Any]:
        """One operation of the host's library, in the way of a check."""
        return self.remote().call(dict(self.request(operation, **more), check=True))

    def declared(self) -> dict[str, Any] | None:
        """agent id -> what is declared of it; None where this host is in no fleet."""
        if "agentfactory_agents" not in self.variables:
            return None
        found = {}
        for item in self.declarations():
            try:
                images = declare.packaged(self.artifacts(), item["name"], str(item["version"])).images
            except declare.DeclarationError:
                images = []
            contents = sorted({image.content for image in images})
            for name in item["instances"] if item["state"] != "absent" else []:
                found[f"{item['name']}@{name}"] = {
                    "version": str(item["version"]), "state": str(item["state"]), "contents": contents,
                }  # fmt: skip
        return found

# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The silence of a rollout: set when its first wave begins, renewed with each other, lifted with its verdict, and known from its ledger
in between. So it ends by itself soon if the controller dies, however many waves were to come.
"""

from typing import Any

from ansible.utils.display import Display

from . import rollout, whoami
from .ledger import Ledger


def begin(variables: dict[str, Any], planned: rollout.Plan) -> None:
    """Where there is an Alertmanager, nobody is paged for what a rollout does on purpose."""
    ledger = Ledger.current()
    url = _of_hosts(variables, planned["hosts"][0], "agentfactory_alertmanager_url")
    if not url or (ledger.begin() or {}).get("check") or not ledger.once("silence"):
        return
    from . import silence

    who = whoami.who(variables)
    try:
        there = silence.connection(str(url), _how_to_ask(variables, planned))
        found = silence.begin(there, planned["hosts"], planned["environment"], who["user"], who["run"])
    except silence.SilenceError as error:
        Display().warning(f"no silence is set, so somebody may be paged for this rollout: {error}")
    else:
        ledger.append({"phase": "silence", "url": str(url), "silence": found})


def _how_to_ask(variables: dict[str, Any], planned: rollout.Plan) -> Any:
    """The host's variable, and never the play's, which comes as it was written: a secret in it may still be a template."""
    return variables["hostvars"][planned["hosts"][0]].get("agentfactory_alertmanager") or {}


def renew(variables: dict[str, Any], planned: rollout.Plan) -> None:
    """A wave begins: what was set for the rollout lasts as long as one may take, from now on."""
    for record in _kept():
        from . import silence

        try:
            there = silence.connection(record["url"], _how_to_ask(variables, planned))
            found = silence.renew(there, record["silence"])
        except silence.SilenceError as error:
            Display().warning(f"the silence is not renewed, so somebody may be paged for this rollout: {error}")
        else:
            Ledger.current().append({"phase": "silence", "url": record["url"], "silence": found})


def lift(variables: dict[str, Any], planned: rollout.Plan) -> None:
    """Lift what was set for it."""
    for record in _kept():
        from . import silence

        try:
            there = silence.connection(record["url"], _how_to_ask(variables, planned))
            silence.lift(there, record["silence"])
        except silence.SilenceError as error:
            Display().warning(f"the silence of this rollout is not lifted, and ends by itself: {error}")


def _kept() -> list[dict[str, Any]]:
    """The silence as it was last set; none where there is none."""
    return list(Ledger.current().records("silence"))[-1:]


def _of_hosts(variables: dict[str, Any], host: str, name: str) -> Any:
    """A variable that is the same for all: the play's own, else a host's."""
    if name in variables:
        return variables[name]
    return variables["hostvars"][host].get(name) if "hostvars" in variables else None

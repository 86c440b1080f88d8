# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fork of each host would work out for itself, worked out before it by the process that it inherits from.

Nothing depends on it: whatever is wrong, or not to be had in this version of Ansible, each fork comes upon itself and says so.
"""

import gc
from contextlib import suppress
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.loader import become_loader, connection_loader, shell_loader

from . import artifact, asked, declare, remote, whoami


def prepare(variables: dict[str, Any]) -> None:
    """Read what is sent and what Ansible needs for a task.

    What is there by now stays for the run. So the garbage collectors of the forks are told to leave it alone: they would only
    have it copied, page by page.
    """
    remote.library_sources()
    whoami.who(variables)
    fleet, chosen = asked.declared(variables) or {}, asked.agents(variables)
    for name, version in fleet.get("agentfactory_versions", {}).items():
        if version and (chosen is None or name in chosen):
            with suppress(declare.DeclarationError, artifact.ArtifactError):
                for image in declare.packaged(str(fleet["agentfactory_artifacts"]), name, str(version)).images:
                    image.files()
    _of_ansible()
    gc.freeze()


def _of_ansible() -> None:
    """Where its plugins are and what options they have, and how a task's result is made of its type hints: 2 ms a fork."""
    with suppress(AnsibleError, ValueError):
        connection_loader.get(context.CLIARGS.get("connection"), class_only=True)
        become_loader.get(context.CLIARGS.get("become_method"), class_only=True)
        shell_loader.get("sh", class_only=True)
    with suppress(ImportError, AttributeError):
        from ansible._internal._task import UnifiedTaskResult  # of core 2.21

        UnifiedTaskResult.from_action_result_dict()

# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job as a pyinfra deploy. Data of a host: agents, archives, by, sandbox, secret, templates, health."""

import io
import shlex

from pyinfra import host
from pyinfra.operations import files, server, systemd
from pyinfra.operations.util import any_changed

by, data = host.data.by, host.data
for agent in data.agents:
    name = agent["name"]
    unit, home = f"{by}-{name}", f"/opt/{by}/{name}-{agent['version']}"
    server.user(
        name="Make the user",
        user=unit,
        system=True,
        shell="/usr/sbin/nologin",
        home=f"/var/lib/{by}/{name}",
        ensure_home=False,
    )
    files.directory(name="Make the release's directory", path=home, mode="755")
    files.directory(name="Make the configuration's directory", path=f"/etc/{by}/{name}", mode="700")
    archive = files.put(
        name="Send the release", src=f"{data.archives}/{name}-{agent['version']}.tar.gz", dest=f"{home}.tar.gz", mode="644",
    )  # fmt: skip
    server.shell(
        name="Unpack and compile the release", commands=[f"tar xzf {home}.tar.gz -C {home}", f"python3 -m compileall -q {home}"],
        _if=archive.did_change,
    )  # fmt: skip
    config = files.template(
        name="Write the configuration", src=f"{data.templates}/config.json.j2", dest=f"/etc/{by}/{name}/config.json", mode="600",
        agent=agent,
    )  # fmt: skip
    secret = files.put(
        name="Write the secret", src=io.StringIO(data.secret), dest=f"/etc/{by}/{name}/token", mode="600"
    )
    written = files.template(
        name="Write the unit", src=f"{data.templates}/unit.service.j2", dest=f"/etc/systemd/system/{unit}.service", mode="644",
        by=by, sandbox=data.sandbox, agent=agent,
    )  # fmt: skip
    systemd.service(
        name="Restart it", service=f"{unit}.service", restarted=True, enabled=True, daemon_reload=True,
        _if=any_changed(archive, config, secret, written),
    )  # fmt: skip
    systemd.service(name="Have it run", service=f"{unit}.service", running=True, enabled=True)
    server.shell(
        name="Wait until it is healthy", commands=[f"bash -c {shlex.quote(data.health)} health {agent['port']}"]
    )

# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One static system user for each instance; the comment field (GECOS) says whose it is."""

import grp
import pwd
from typing import Optional

from .errors import HostError
from .layout import Instance
from .systemd import run


def find(instance: Instance) -> Optional[pwd.struct_passwd]:
    """The instance's user, or None. Raises HostError if the name belongs to something else."""
    try:
        user = pwd.getpwnam(instance.user)
    except KeyError:
        return None
    if user.pw_gecos.split(",")[0] != instance.id:
        raise HostError("user %s exists but belongs to %r, not to %s" % (user.pw_name, user.pw_gecos, instance.id))
    return user


def known_as(uid: int) -> str:
    """A user id, and whose it is: an instance's where it has one."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return "user id %d" % uid
    return "user id %d (%s)" % (uid, user.pw_gecos if user.pw_name.startswith("af-") else user.pw_name)


def group_ids(groups: "list[str]") -> "list[int]":
    return [grp.getgrnam(name).gr_gid for name in groups]


def missing_groups(groups: "list[str]") -> "list[str]":
    known = {g.gr_name for g in grp.getgrall()} if groups else set()
    return [g for g in groups if g not in known]


def ensure(instance: Instance) -> pwd.struct_passwd:
    user = find(instance)
    if user is None:
        # A group may be left of an earlier user.
        group = ["--gid", instance.user] if has_group(instance) else ["--user-group"]
        run(
            ["useradd", "--system", *group, "--no-create-home", "--home-dir", str(instance.state),
             "--shell", "/usr/sbin/nologin", "--comment", instance.id, instance.user]
        )  # fmt: skip
        user = pwd.getpwnam(instance.user)
    return user


def has_group(instance: Instance) -> bool:
    return not missing_groups([instance.user])


def remove(instance: Instance) -> None:
    """Remove the user, and its group where userdel left it: it does by USERGROUPS_ENAB in login.defs, or was killed in between."""
    if find(instance) is not None:
        run(["userdel", instance.user])
    if has_group(instance):
        run(["groupdel", instance.user])

# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing an instance, and the proof that nothing of it is left."""

import os
from pathlib import Path
from typing import Optional

from . import activation, egress, health, staging, users
from .files import checkpoint, leftovers, write_json
from .files import remove as remove_path
from .layout import Instance, Layout, instances
from .systemd import Systemd, run


def remove(instance: Instance, systemd: Systemd, *, purge: bool) -> "list[str]":
    """Stop and remove everything of the instance but, without `purge`, its state. Returns what is left (nothing, if well)."""
    owner = staging.owner(
        instance
    )  # now: nobody knows it any more once the instance is gone, as where this goes on after a kill
    if owner and not purge and instance.state.is_dir():
        write_json(staging.kept_file(instance), {"environment": owner})
    activation.deactivate(instance, systemd)
    user = users.find(instance)
    uid = user.pw_uid if user else None
    checkpoint("remove.deactivated")
    if purge:
        delete_state(instance)
    elif instance.state.is_dir():
        # The user id may be given to somebody else; the state waits for its instance as root's.
        _give_to_root(instance.state)
    users.remove(instance)
    checkpoint("remove.user")
    for place in _places_of_units(instance):
        for path in leftovers(place):
            remove_path(path)
    remove_path(instance.releases)  # first: until it is gone, the rest says whose instance it is
    remove_path(instance.home)
    _remove_empty(instance.home.parent)
    return left(instance, systemd, uid=uid, purge=purge)


def delete_state(instance: Instance) -> None:
    """Delete the state of an instance, whether the rest of it is still here or not."""
    remove_path(instance.state)
    _remove_empty(instance.state.parent)
    remove_path(staging.kept_file(instance))


def kept(layout: Layout) -> "list[tuple[Instance, str]]":
    """The removed instances of which the state was kept, each with the environment that it belonged to."""
    found = []
    for path in sorted(layout.kept.glob("*.json")):
        agent, _at, name = path.stem.partition("@")
        instance = Instance(layout, agent, name)
        if instance.state.is_dir() and not instance.releases.exists():
            found.append((instance, staging.kept_owner(instance)))
    return found


def _places_of_units(instance: Instance) -> "list[Path]":
    return [instance.unit_file, instance.proof_file, instance.wants]


def _give_to_root(path: Path) -> None:
    for directory, names, files in os.walk(path):
        for name in [""] + names + files:
            os.chown(os.path.join(directory, name), 0, 0, follow_symlinks=False)


def _remove_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        pass


def left(instance: Instance, systemd: Systemd, *, uid: Optional[int], purge: bool) -> "list[str]":
    """What of the instance is still on this host: units, slice, user, group, processes, listeners, files, firewall rules."""
    found = []
    shown = systemd.show([instance.unit, instance.slice])
    if shown[instance.unit]["LoadState"] != "not-found" or shown[instance.unit]["ActiveState"] != "inactive":
        found.append("unit %s" % instance.unit)
    if not _siblings(instance) and shown[instance.slice]["ActiveState"] == "active":
        run(["systemctl", "stop", instance.slice], check=False)
        if systemd.show([instance.slice])[instance.slice]["ActiveState"] == "active":
            found.append("slice %s" % instance.slice)
    if users.find(instance) is not None:
        found.append("user %s" % instance.user)
    if users.has_group(instance):
        found.append("group %s" % instance.user)
    if uid is not None:
        found += ["process %s" % p for p in _processes_of(uid)]
        found += ["port %d" % item.port for item in health.listeners() if item.uid == uid]
    units = _places_of_units(instance)
    files = [instance.home, *units, *(path for place in units for path in leftovers(place))]
    files += [instance.state] if purge else []
    found += [str(p) for p in files if os.path.lexists(p)]
    if instance.user in egress.listing():
        found.append("firewall chain %s" % instance.user)
    return found


def _siblings(instance: Instance) -> bool:
    return any(i.agent == instance.agent and i.id != instance.id for i in instances(instance.layout))


def _processes_of(uid: int) -> "list[str]":
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    found.append(entry.name)
            except FileNotFoundError:
                continue
    return found


def remove_factory(layout: Layout, *, purge: bool) -> None:
    """After the last instance: firewall table, store, trees and library; with `purge` also key and history.

    Not where agents left state behind when they were removed without `purge`: then it is known whose it is.
    """
    if not instances(layout):
        egress.remove_table()
        remove_path(layout.opt)
        remove_path(layout.run)
        if purge and not kept(layout):
            remove_path(layout.factory)
            _remove_empty(layout.state)


def remove_library(layout: Layout, library: Path) -> None:
    """From a host where nothing came of the first call. What another run has begun there meanwhile stays."""
    if library.parent == layout.lib:
        remove_path(library)
    _remove_empty(layout.lib)
    _remove_empty(layout.opt)

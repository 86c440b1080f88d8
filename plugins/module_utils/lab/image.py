# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems of the lab's hosts: made by mmdebstrap from the machine's own mirror, kept as podman images."""

import concurrent.futures
import hashlib
import json
import os
import re
import tempfile
from typing import Optional

from .command import LabError, installed, run

LABEL = "io.agentfactory.lab.image"
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "mosquitto",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)
# Run by mmdebstrap with the new root as $1. /sbin/lab-init is the host's first process, at every boot.
RECIPE = """#!/bin/sh
set -eu
cat > "$1/sbin/lab-init" <<'EOF'
#!/bin/sh
set -eu
# A container's / is private: without this, units start with an empty credentials directory.
mount --make-rshared /
# The image has no lists of packages: whoever installs one is to fetch them first.
ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || touch -d @0 /var/lib/apt/lists
[ -s /etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
[ -s /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -C "$HOSTNAME" -f /etc/ssh/ssh_host_ed25519_key
printf '%s\\n' "$LAB_KEY" > /etc/ssh/lab_authorized_keys
unset LAB_KEY
exec /sbin/init
EOF
chmod 755 "$1/sbin/lab-init"
mkdir -p "$1/etc/ssh/sshd_config.d" "$1/etc/systemd/journald.conf.d"
cat > "$1/etc/ssh/sshd_config.d/lab.conf" <<'EOF'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/lab_authorized_keys
PasswordAuthentication no
PermitRootLogin prohibit-password
UseDNS no
MaxStartups 100
MaxSessions 100
EOF
printf '[Journal]\\nSystemMaxUse=64M\\n' > "$1/etc/systemd/journald.conf.d/lab.conf"
# Debian has a group of this name.
chroot "$1" useradd --gid operator --create-home --shell /bin/bash operator
printf 'operator ALL=(ALL) NOPASSWD: ALL\\n' > "$1/etc/sudoers.d/operator"
chmod 440 "$1/etc/sudoers.d/operator"
# The broker is started on the one host that is asked for it.
chroot "$1" systemctl disable mosquitto.service
# Nothing may wake up by itself in the middle of a measurement.
chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/etc/resolv.conf" "$1/var/lib/dbus/machine-id"
: > "$1/etc/machine-id"
"""
# Debian's own suites of one release, whatever the machine calls them.
SUITES = r"(?:%s|stable|oldstable|oldoldstable|testing)(|-updates|-security)"
FETCHING = r"Acquire::(?:https?|ftp)::|Acquire::(?:Retries|Check-Valid-Until|Check-Date|ForceIPv[46]) "


def all_packages(extra: list[str]) -> list[str]:
    return sorted({*PACKAGES, *extra})


def tag(release: str, packages: list[str]) -> str:
    """The image's name: what it is made of, so a change of recipe or packages is another image."""
    made_of = json.dumps([release, packages, RECIPE])
    return f"localhost/agentfactory-lab/{release}:{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def sources(release: str, codename: str, targets: str) -> list[str]:
    """One-line apt sources of ``release`` on the mirrors that the machine (of Debian ``codename``) uses.

    ``targets`` has a line ``<uri> <suite> <component>`` an index. Empty where the machine has no Debian mirror.
    """
    lines: list[str] = []
    for uri, suite, component in (line.split() for line in targets.splitlines() if line.strip()):
        found = re.fullmatch(SUITES % re.escape(codename), suite)
        line = f"deb {uri} {release}{found.group(1)} {component}" if found else ""
        if found and component == "main" and line not in lines:
            lines.append(line)
    return lines


def mirror_sources(release: str, mirror: str) -> list[str]:
    return [f"deb {mirror} {release} main", f"deb {mirror} {release}-updates main"]


def fetch_options(dump: str) -> list[str]:
    """How the machine's apt fetches (proxy, certificates, clock), from ``apt-config dump``; not what it fetches."""
    return [line for line in dump.splitlines() if re.match(FETCHING, line) and not line.endswith(' "";')]


def machine_sources(release: str) -> list[str]:
    codename = run("sh", "-c", '. /etc/os-release && echo "${ID}:${VERSION_CODENAME-}"').strip()
    if not codename.startswith("debian:"):
        return []
    what = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = run("apt-get", "indextargets", "--no-release-info", "--format", what, "Created-By: Packages")
    return sources(release, codename.partition(":")[2], targets)


def build(release: str, packages: list[str], mirror: str) -> None:
    """Make the image; it has its name only once it is whole, so a build that is killed leaves nothing to trip over."""
    name = tag(release, packages)
    with tempfile.TemporaryDirectory(prefix="agentfactory-lab-") as work:
        recipe, listed, archive = (os.path.join(work, part) for part in ("recipe", "sources.list", "root.tar"))
        with open(recipe, "w", encoding="utf-8") as stream:
            stream.write(RECIPE)
        os.chmod(recipe, 0o755)
        os.chmod(work, 0o755)
        lines = mirror_sources(release, mirror) if mirror else machine_sources(release)
        with open(listed, "w", encoding="utf-8") as stream:
            stream.write("".join(line + "\n" for line in lines))
        options = [f"--aptopt={line}" for line in fetch_options(run("apt-config", "dump"))]
        command = ["mmdebstrap", "--variant=minbase", "--include=" + ",".join(packages), *options]
        # Without any source mmdebstrap falls back on its own idea of Debian's mirror.
        run(*command, f"--customize-hook={recipe}", release, archive, *([listed] if lines else []), timeout=1800)
        change = f"LABEL {LABEL}={release}"
        run("podman", "import", "--quiet", "--change", change, archive, name, timeout=600)


def listed() -> list[str]:
    """Names of the images that were made here."""
    if not installed("podman"):
        return []
    images = json.loads(run("podman", "images", "--format", "json", "--filter", f"label={LABEL}") or "[]")
    return sorted(name for image in images for name in image.get("Names") or [])


def remove(names: list[str]) -> None:
    run("podman", "rmi", *names)


def build_all(releases: list[str], packages: list[str], mirror: str, jobs: int) -> None:
    """Build several, ``jobs`` at a time; LabError names each release that failed."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        builds = {release: pool.submit(build, release, packages, mirror) for release in releases}
    errors: dict[str, Optional[BaseException]] = {release: future.exception() for release, future in builds.items()}
    problems = [f"{release}: {error}" for release, error in errors.items() if error]
    if problems:
        raise LabError("no root file system for " + "; ".join(problems))

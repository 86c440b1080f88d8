# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit of a release: a pure function, and what systemd and sh make of it."""

import os
import re
import shutil
import subprocess
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.module_utils import credentials, unit
from ansible_collections.agentfactory.core.plugins.module_utils.layout import Instance, Layout

TREE = "ab" * 32
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "b": "\b", "a": "\a", "\\": "\\", '"': '"'}


def sections(text):
    """``{section: [(key, value)]}`` of a unit, read as systemd.syntax(7) says: a line ends at LF, CR or NUL."""
    found = {}
    for line in re.split(r"[\n\r\0]", text):
        assert not line.endswith("\\")
        if line.startswith("["):
            current = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            key, separator, value = line.partition("=")
            assert separator
            assert re.fullmatch("[A-Za-z]+", key), line
            current.append((key, value))
    return found


def service(spec):
    return sections(unit.render(spec))["Service"]


def values(spec, key):
    return [value for name, value in service(spec) if name == key]


def unquote(line):
    """The words of a line as systemd.syntax(7) reads them: in double quotes, with C escapes."""
    words = []
    for word, gap in re.findall(r'"((?:[^"\\]|\\.)*)"(\s+|$)', line, re.DOTALL):
        words.append(re.sub(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|(.))", _unescape, word, flags=re.DOTALL))
        assert gap or word is not None
    assert re.fullmatch(r'(?:"(?:[^"\\]|\\.)*"(?:\s+|$))*', line, re.DOTALL), line
    return words


def _unescape(match):
    return chr(int(match[1] or match[2], 16)) if match[1] or match[2] else ESCAPES[match[3]]


def argv(line):
    """What a command of a unit is started with: unquoted, then without specifiers and variables."""
    return [_plain(word, "$") for word in map(_specifiers, unquote(line))]


def _specifiers(word):
    return _plain(word, "%")


def _plain(word, sign):
    """Each `sign` must be doubled, or systemd would expand something."""
    assert sign not in word.replace(sign * 2, ""), word
    return word.replace(sign * 2, sign)


# -- golden properties ------------------------------------------------------------------------------------------------

SINGLE = {
    "Type": "exec",
    "User": "af-28c4df20fd48",
    "Group": "af-28c4df20fd48",
    "Slice": "agentfactory-robot_arm.slice",
    "StateDirectory": "agentfactory/robot-arm/0",
    "StateDirectoryMode": "0700",
    "WorkingDirectory": "/var/lib/agentfactory/robot-arm/0",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "MemoryDenyWriteExecute": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "RestrictNamespaces": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "UMask": "0077",
    "KillSignal": "SIGTERM",
    "TimeoutStopSec": "20",
    "Restart": "always",
    "RestartSec": "2",
    "TasksMax": "64",
    "LimitCORE": "0",
}
REPEATED = {"Environment", "LoadCredential", "LoadCredentialEncrypted", "SystemCallFilter", "ReadWritePaths", "DeviceAllow",
            "ExecStartPre"}  # fmt: skip


def test_the_unit_of_a_manifest_that_asks_for_nothing(spec):
    found = dict(service(spec()))
    assert {key: found.get(key) for key in SINGLE} == SINGLE
    assert argv(found["ExecStart"]) == ["/opt/agentfactory/trees/%s/bin/arm" % TREE, "serve"]
    absent = {"PrivateNetwork", "ReadWritePaths", "DeviceAllow", "DevicePolicy", "SupplementaryGroups", "ExecStartPre"}
    assert not absent & set(found)


@pytest.mark.parametrize("changes", [{}, {"systemd": 252, "nft": "/usr/sbin/nft"}, {"delivery": credentials.BOUND}])
def test_no_setting_is_said_twice_where_the_last_one_would_win(spec, changes):
    counted = Counter(key for key, _value in service(spec(**changes)))
    assert {key for key, times in counted.items() if times > 1} <= REPEATED


def test_the_unit_names_release_and_tree_by_absolute_path_and_no_secret(spec):
    text = unit.render(spec(secrets=["token"], delivery=credentials.ENCRYPTED))
    base = "/opt/agentfactory/agents/robot-arm/0/releases/" + unit.RELEASE
    assert "LoadCredentialEncrypted=token:%s/credentials/token" % base in text
    assert "LoadCredential=config.json:%s/config.json" % base in text
    assert "/current" not in text
    assert 'Environment="AGENT_RELEASE=%s"' % unit.RELEASE in text
    found = sections(text)
    assert dict(found["Unit"])["RequiresMountsFor"] == "/var/lib/agentfactory /opt/agentfactory"
    assert dict(found["Unit"])["StartLimitIntervalSec"] == "0"
    assert found["Install"] == [("WantedBy", "multi-user.target")]


@pytest.mark.parametrize(
    ("delivery", "where", "lines"),
    [
        (credentials.ENCRYPTED, "/run/credentials/{unit}", ["LoadCredential", "LoadCredentialEncrypted"]),
        (credentials.LOADED, "/run/credentials/{unit}", ["LoadCredential", "LoadCredential"]),
        (credentials.BOUND, "/run/agentfactory/{unit}/credentials", ["BindReadOnlyPaths"]),
    ],
)
def test_credentials_by_each_way(spec, delivery, where, lines):
    made = spec(delivery=delivery, secrets=["token"])
    place = where.format(unit="agentfactory-robot-arm@0.service")
    keys = [key for key, _value in service(made) if key.startswith("LoadCredential") or key == "BindReadOnlyPaths"]
    assert keys == lines
    environment = dict(unquote(value)[0].split("=", 1) for value in values(made, "Environment"))
    assert environment["AGENT_CONFIG"] == place + "/config.json"
    if delivery == credentials.BOUND:
        assert environment["CREDENTIALS_DIRECTORY"] == place
        assert values(made, "BindReadOnlyPaths")[0].endswith("/credentials:" + place)
        assert values(made, "RuntimeDirectory") == ["agentfactory/agentfactory-robot-arm@0.service"]


def test_what_the_agent_sees(spec):
    made = spec(ports={"http": 8080, "admin_api": 9090}, runtime={"type": "python"})
    environment = dict(unquote(value)[0].split("=", 1) for value in values(made, "Environment"))
    assert environment["AGENT_ID"] == "robot-arm@0"
    assert environment["AGENT_PORT_HTTP"] == "8080"
    assert environment["AGENT_PORT_ADMIN_API"] == "9090"
    assert environment["HOME"] == "/var/lib/agentfactory/robot-arm/0"
    assert environment["PATH"].split(":")[0] == "/opt/agentfactory/trees/%s/bin" % TREE
    assert environment["PYTHONUNBUFFERED"] == environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert "PYTHONUNBUFFERED" not in unit.render(spec())


# -- escaping ---------------------------------------------------------------------------------------------------------

TROUBLE = ["100%", "%h", "$HOME", "${HOME}", 'say "x"', "back\\slash", "trailing\\", "two\nlines", "a\rb", "tab\t", "", " ",
           "; rm -rf /", "#no comment", "{not.a.placeholder}", "{{ x }}", "ünï", "\x07", "%%", "$$", "\\n", "'"]  # fmt: skip


@pytest.mark.parametrize("word", TROUBLE)
def test_words_of_a_command_arrive_as_they_are(spec, word):
    found = dict(service(spec(command=["arm", word, "end"])))
    assert argv(found["ExecStart"])[1:] == [word, "end"]


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1))
def test_any_words_arrive_as_they_are(words):
    line = " ".join(unit.quote(word) for word in words)
    assert not set("\n\r\0") & set(line)
    assert argv(line) == words


@pytest.mark.parametrize("value", TROUBLE)
def test_values_of_the_environment_arrive_as_they_are(spec, value):
    found = values(spec(environment=value), "Environment")
    assert "AGENT_ENVIRONMENT=" + value in [_specifiers(unquote(line)[0]) for line in found]


@pytest.mark.parametrize("text", [*TROUBLE, "x\n[Service]\nUser=root", "x\rUser=root", "x\0User=root"])
def test_a_description_stays_in_its_line(spec, text):
    made, plain = spec(description=text), spec()
    found, usual = sections(unit.render(made)), sections(unit.render(plain))
    assert found["Service"] == usual["Service"]
    assert [key for key, _value in found["Unit"]] == [key for key, _value in usual["Unit"]]
    assert "%" not in dict(found["Unit"])["Description"].replace("%%", "")


@pytest.mark.parametrize("path", ["/srv/a b", "/srv/100%", "/srv/%h", "/srv/plain"])
def test_paths_are_one_path_each(spec, path):
    assert [_specifiers(unquote(v)[0]) for v in values(spec(permissions={"write": [path]}), "ReadWritePaths")] == [path]
    allowed = values(spec(permissions={"devices": [path]}), "DeviceAllow")
    assert [_specifiers(unquote(v.rpartition(" ")[0])[0]) for v in allowed] == [path]
    assert [v.rpartition(" ")[2] for v in allowed] == ["rw"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--port={port.http}", "--port=8080"),
        ("{config}", "/run/credentials/agentfactory-robot-arm@0.service/config.json"),
        ("{instance}-{instance}", "0-0"),
        ("{state_dir}/db", "/var/lib/agentfactory/robot-arm/0/db"),
        ("{port.other}", "{port.other}"),
    ],
)
def test_placeholders(spec, word, expected):
    assert unit.expand([word], spec(), "agentfactory-robot-arm@0.service") == [expected]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("arm", "bin/arm"), ("./arm", "bin/arm"), ("tools/arm", "tools/arm"), ("./tools/arm", "tools/arm")],
)
def test_the_first_word_is_a_script_or_a_path_in_the_tree(word, expected):
    assert unit.program(word, "t") == "/opt/agentfactory/trees/t/" + expected


# -- permissions: each opens what it is about, and nothing else -------------------------------------------------------

NOTHING_ASKED = {"ports": {}}


@pytest.mark.parametrize(
    ("permissions", "gone", "come"),
    [
        ({"jit": True}, {("MemoryDenyWriteExecute", "yes")}, set()),
        ({"proc": "all"}, {("ProtectProc", "invisible"), ("ProcSubset", "pid")}, set()),
        (
            {"capabilities": ["CAP_NET_RAW", "CAP_SYS_NICE"]},
            {("CapabilityBoundingSet", ""), ("AmbientCapabilities", ""), ("PrivateUsers", "yes")},
            {
                ("CapabilityBoundingSet", "CAP_NET_RAW CAP_SYS_NICE"),
                ("AmbientCapabilities", "CAP_NET_RAW CAP_SYS_NICE"),
            },
        ),
        (
            {"devices": ["/dev/ttyUSB0"]},
            {("PrivateDevices", "yes"), ("PrivateUsers", "yes")},
            {("DevicePolicy", "closed"), ("DeviceAllow", '"/dev/ttyUSB0" rw')},
        ),
        ({"groups": ["dialout", "video"]}, {("PrivateUsers", "yes")}, {("SupplementaryGroups", "dialout video")}),
        ({"write": ["/srv/data"]}, {("PrivateUsers", "yes")}, {("ReadWritePaths", '"/srv/data"')}),
        (
            {"outbound": ["10.0.0.0/8"]},
            {("PrivateNetwork", "yes"), ("RestrictAddressFamilies", "AF_UNIX")},
            {("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6")},
        ),
    ],
)
def test_a_permission_opens_only_what_it_is_about(spec, permissions, gone, come):
    closed = set(service(spec(**NOTHING_ASKED)))
    opened = set(service(spec(permissions=permissions, **NOTHING_ASKED)))
    assert closed - opened == gone
    assert opened - closed == come


def test_without_ports_and_destinations_there_is_no_network(spec):
    found = dict(service(spec(**NOTHING_ASKED)))
    assert found["PrivateNetwork"] == "yes"
    assert found["RestrictAddressFamilies"] == "AF_UNIX"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"cpu": 0.25}, {"CPUQuota": "25%"}),
        ({"cpu": 2}, {"CPUQuota": "200%"}),
        ({"cpu": 1 / 3}, {"CPUQuota": "33.3%"}),  # systemd 247 reads one digit, and drops the limit otherwise
        ({"cpu": 0.0001}, {"CPUQuota": "0.1%"}),
        ({"cpu": 4096}, {"CPUQuota": "409600%"}),
        ({"memory": 134217728}, {"MemoryMax": "134217728", "MemorySwapMax": "0"}),
        ({}, {}),
    ],
)
def test_limits(spec, resources, expected):
    found = dict(service(spec(resources=resources)))
    limits = ("CPUQuota", "MemoryMax", "MemorySwapMax")
    assert {key: found[key] for key in limits if key in found} == expected


def test_egress_rules_are_loaded_before_every_start_with_full_privileges(spec):
    first = values(spec(nft="/usr/sbin/nft"), "ExecStartPre")[0]
    assert first == "+/usr/sbin/nft -f /opt/agentfactory/agents/robot-arm/0/releases/%s/egress.nft" % unit.RELEASE


def test_preflight_runs_once_in_the_very_sandbox_of_the_release(spec):
    made = spec(health={"preflight": ["arm", "check", "{config}"]}, secrets=["token"], permissions={"jit": True})
    found, main = sections(unit.render_preflight(made))["Service"], service(made)
    assert dict(found)["Type"] == "oneshot"
    place = "/run/credentials/agentfactory-preflight-robot-arm.0.service/config.json"
    assert argv(dict(found)["ExecStart"]) == ["/opt/agentfactory/trees/%s/bin/arm" % TREE, "check", place]
    only_here = {key for key, value in found if (key, value) not in main}
    assert only_here == {"Type", "ExecStart", "Environment"}
    missing = {key for key, value in main if (key, value) not in found}
    assert missing <= {"Type", "ExecStart", "Environment", "KillSignal", "TimeoutStopSec", "Restart", "RestartSec", "RestartSteps",
                       "RestartMaxDelaySec", "ExecStopPost"}  # fmt: skip
    assert "Restart" not in dict(found)


@pytest.mark.parametrize(("notify", "kind"), [(True, "notify"), (False, "exec")])
def test_readiness(spec, notify, kind):
    assert values(spec(health={"notify": notify}), "Type") == [kind]


# -- restarts ---------------------------------------------------------------------------------------------------------


def test_systemd_254_steps_by_itself(spec):
    found = dict(service(spec(systemd=254)))
    assert (found["RestartSec"], found["RestartSteps"], found["RestartMaxDelaySec"]) == ("2", "8", "300")
    assert found["TimeoutStartSec"] == "30"
    assert "ExecStartPre" not in found


def _delay(line, restarts, place):
    """Run the line of the unit with /bin/sh: what systemctl prints and whether sleep is called are the test's."""
    assert line.startswith("+/bin/sh -c ")
    script = argv(line.partition(" -c ")[2])[0]
    (place / "systemctl").write_text('#!/bin/sh\necho "$@" >> %s/asked\nprintf "%%s\\n" "%s"\n' % (place, restarts))
    (place / "sleep").write_text('#!/bin/sh\necho "$@" > %s/slept\n' % place)
    for name in ("systemctl", "sleep"):
        (place / name).chmod(0o755)
    subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(place)}, check=True, capture_output=True)
    slept = place / "slept"
    seconds = int(slept.read_text()) if slept.exists() else 0
    slept.unlink(missing_ok=True)
    return seconds


def test_older_systemd_waits_in_the_units_own_script(spec, tmp_path):
    made = spec(systemd=253)
    line = values(made, "ExecStartPre")[0]
    waits = [2 + _delay(line, restarts, tmp_path) for restarts in range(1, 40)]
    assert waits[0] <= 2
    assert waits == sorted(waits)
    assert waits[1] > waits[0]
    assert max(waits) == waits[-1] == 300
    restarts_a_day, passed = 0, 0
    while passed < 86400:
        passed += waits[min(restarts_a_day, len(waits) - 1)]
        restarts_a_day += 1
    assert restarts_a_day <= 400
    assert int(dict(service(made))["TimeoutStartSec"]) > max(waits)
    assert "RestartSteps" not in dict(service(made))
    asked = (tmp_path / "asked").read_text().splitlines()[0]
    assert asked == "show --property=NRestarts --value agentfactory-robot-arm@0.service"


@pytest.mark.parametrize("printed", ["0", "", "[not set]", "nonsense; echo x"])
def test_a_first_start_and_an_unknown_count_do_not_wait(spec, tmp_path, printed):
    assert _delay(values(spec(systemd=252), "ExecStartPre")[0], printed, tmp_path) == 0


V1 = "9:memory:/agentfactory.slice/a.service\n1:name=systemd:/agentfactory.slice/a.service\n0::/agentfactory.slice/a.service\n"
V2 = "0::/agentfactory.slice/a.service\n"


@pytest.mark.parametrize(
    ("mine", "file", "says", "result", "kept"),
    [
        (
            V1,
            "memory/agentfactory.slice/a.service/memory.oom_control",
            "under_oom 0\noom_kill 2\n",
            "signal",
            "oom_kill 2\n",
        ),
        (
            V2,
            "agentfactory.slice/a.service/memory.events",
            "oom 4\noom_kill 1\noom_group_kill 0\n",
            "oom-kill",
            "oom_kill 1\n",
        ),
        (V2, "agentfactory.slice/a.service/memory.events", "oom 4\noom_kill 0\n", "signal", ""),
        (V2, "agentfactory.slice/a.service/memory.events", "oom_kill 1\n", "success", ""),
        (V2, "other/memory.events", "oom_kill 1\n", "signal", ""),
    ],
)
def test_what_the_kernel_killed_is_written_down_before_its_group_ends(spec, tmp_path, mine, file, says, result, kept):
    made = spec()
    line = values(made, "ExecStopPost")[0]
    assert line.startswith("-+/bin/sh -c ")
    script = argv(line.partition(" -c ")[2])[0]
    assert str(made.instance.oom_kills) in script
    (tmp_path / "mine").write_text(mine)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(says)
    there = {
        "/sys/fs/cgroup": str(tmp_path),
        "/proc/self/cgroup": str(tmp_path / "mine"),
        str(made.instance.oom_kills): str(tmp_path / "kept"),
    }
    for path, other in there.items():
        script = script.replace(path, other)
    subprocess.run(["/bin/sh", "-c", script], env={"PATH": os.environ["PATH"], "SERVICE_RESULT": result}, check=False)
    assert ((tmp_path / "kept").read_text() if (tmp_path / "kept").exists() else "") == kept


# -- systemd's own opinion --------------------------------------------------------------------------------------------


def _analyze(*arguments):
    program = shutil.which("systemd-analyze")
    if not program:
        pytest.skip("systemd-analyze is not installed")
    version = re.match(
        r"systemd (\d+)", subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    )
    if not version or int(version[1]) < 250:
        pytest.skip("systemd-analyze looks at files from systemd 250 on")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def _written(spec, place):
    path = place / "agentfactory-robot-arm@0.service"
    path.write_text(unit.render(spec))
    return str(path)


def test_the_exposure_that_systemd_computes_is_at_most_2(spec, tmp_path):
    done = _analyze("security", "--offline=true", "--threshold=20", _written(spec(), tmp_path))
    assert "Overall exposure level" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.parametrize("systemd", [252, 257])
def test_systemd_understands_every_line(spec, tmp_path, systemd):
    made = spec(
        systemd=systemd, nft="/usr/sbin/nft", secrets=["token"], description='100% "x"', command=["arm", "%h", "$x", 'a"b', "; x", "\\"],
        resources={"cpu": 0.333, "memory": 1 << 27, "tasks": 9},
        permissions={"devices": ["/dev/null"], "groups": ["video"], "write": ["/srv/a b"], "capabilities": ["CAP_NET_RAW"]},
    )  # fmt: skip
    done = _analyze("verify", "--man=no", _written(made, tmp_path))
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    newer = {"RestartSteps", "RestartMaxDelaySec"}
    assert [line for line in complaints if not any(key in line for key in newer)] == []


def test_instances_have_their_own_unit_and_share_a_slice(tmp_path):
    one, two = (Instance(Layout(tmp_path), "robot-arm", name) for name in "01")
    assert (one.unit, two.unit) == ("agentfactory-robot-arm@0.service", "agentfactory-robot-arm@1.service")
    assert one.user != two.user
    assert re.fullmatch("af-[0-9a-f]{12}", one.user)
    assert one.slice == two.slice == "agentfactory-robot_arm.slice"


def test_two_instances_never_share_the_unit_of_their_preflight(layout):
    assert Instance(layout, "a", "b-c").preflight_unit != Instance(layout, "a-b", "c").preflight_unit

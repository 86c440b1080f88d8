# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes against real sockets and processes, and the kernel's table of listeners as it was recorded."""

import os
import re
import shutil
import socket
import sys
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.module_utils import health
from ansible_collections.agentfactory.core.plugins.module_utils.health import Listener, Seen

from .. import ports

# Recorded on an x86-64 host (little endian): listeners, established connections, a closing one.
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 444 1 0000000045ac08e5 100 0 0 10 0
   1: 0100590A:B2F2 0B00590A:0016 01 00000000:00000000 02:0008DFE6 00000000     0        0 118878 2 00000000aa028136 20 4 31 526 -1
   2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 23111 1 0000000000000000 100 0 0 10 0
   3: 0100007F:8F1E 0100007F:1F90 06 00000000:00000000 03:00000F2B 00000000     0        0 0 3 0000000000000000
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 20561 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 23112 1 0000000000000000 100 0 0 10 0
   2: 0000000000000000FFFF00000100007F:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 23113 1 0000000000000000 100 0 0 10 0
   3: 0000000000000000FFFF00000100007F:1F92 0000000000000000FFFF00000100007F:8F1E 01 00000000:00000000 00:00000000 00000000  1001        0 23114 1 0000000000000000 20 4 30 10 -1
"""  # noqa: E501


@pytest.mark.skipif(sys.byteorder != "little", reason="the recording is from a little-endian host")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TCP, [Listener("0.0.0.0", 2024, 0), Listener("127.0.0.1", 8080, 998)]),
        (TCP6, [Listener("::", 22, 0), Listener("::1", 8081, 1001), Listener("::ffff:127.0.0.1", 8082, 65534)]),
        (TCP.splitlines()[0] + "\n", []),
        ("", []),
        (TCP[:-150], [Listener("0.0.0.0", 2024, 0), Listener("127.0.0.1", 8080, 998)]),
    ],
)
def test_listeners_are_read_from_the_kernels_table(text, expected):
    assert [item._replace(inode=0) for item in health.parse_listeners(text)] == expected


@contextmanager
def server(answer, family=socket.AF_INET, address="127.0.0.1", *, accept=True):
    """A socket that listens, and gives each connection to `answer(connection)` in a thread. Yields its port."""
    listener = socket.socket(family)
    listener.bind((address, 0))
    listener.listen(8)
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            try:
                connection, _peer = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    answer(connection, stop)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    if accept:
        thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        try:
            listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        listener.close()
        if accept:
            thread.join(60)


def says(data):
    def answer(connection, _stop):
        connection.recv(65536)
        connection.sendall(data)

    return answer


def silent(connection, stop):
    connection.recv(65536)
    stop.wait(120)


def drips(connection, stop):
    """A byte now and then, for longer than any probe waits."""
    connection.recv(65536)
    for byte in b"HTTP/1.0 200 OK\r\n" + b"x" * 2400:
        if stop.wait(0.05):
            return
        connection.sendall(bytes([byte]))


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("answer", "healthy", "detail"),
    [
        (says(OK), True, "status 200"),
        (says(b"HTTP/1.0 200\r\n\r\n"), True, "status 200"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000), True, "status 200"),
        (
            says(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno broker yet"),
            False,
            "status 503 (wanted 200) no broker yet",
        ),
        (says(b"HTTP/1.1 204 No Content\r\n\r\n"), False, "status 204 (wanted 200)"),
        (says(b"HTTP/1.1 500 Oops\r\n\r\n\xff\xfe"), False, "status 500"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), False, "not HTTP: SSH-2.0"),
        (says(b"HTTP/1.1 2"), False, "not HTTP"),
        (says(b"HTTP/2 200\r\n\r\n"), False, "not HTTP"),
        (says(b"\x15\x03\x01\x00\x02\x02\x16"), False, "not HTTP"),
        (says(b""), False, "not HTTP: "),
    ],
)
def test_http_answers(answer, healthy, detail):
    with server(answer) as port:
        seen = health.http(port, "/healthz", 200)
    assert (seen.healthy, seen.probe) == (healthy, "http port %d /healthz" % port)
    assert detail in seen.detail


def test_the_request_is_one_that_every_server_understands():
    heard = []

    def listen(connection, _stop):
        heard.append(connection.recv(65536))
        connection.sendall(OK)

    with server(listen) as port:
        assert health.http(port, "/healthz?deep=1", 200).healthy
    assert heard == [b"GET /healthz?deep=1 HTTP/1.0\r\nHost: localhost:%d\r\n\r\n" % port]


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_answer_is_judged_and_not_raised(data):
    with server(says(data)) as port:
        seen = health.http(port, "/", 200)
    assert isinstance(seen, Seen)
    assert seen.healthy == data.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))


@pytest.mark.parametrize("answer", [silent, drips])
def test_a_slow_server_is_not_healthy_and_does_not_hold_the_probe_up(answer):
    """The server would go on for two minutes: the probe must give up by itself, or the outer test would see the thread."""
    done = []

    def look(port):
        done.append(health.http(port, "/", 200, timeout=0.3))

    with server(answer) as port:
        thread = threading.Thread(target=look, args=(port,), daemon=True)
        thread.start()
        thread.join(60)
        assert done, "the probe waits as long as the server talks"
    assert not done[0].healthy
    assert "no answer" in done[0].detail


@pytest.mark.parametrize("probe", [health.tcp, lambda port: health.http(port, "/", 200)])
def test_nothing_listens(probe):
    with ports.closed() as port:
        seen = probe(port)
    assert (seen.healthy, seen.detail) == (False, "nothing listens on port %d" % port)


def test_a_listener_is_connected_to_and_has_an_owner():
    with server(says(OK)) as port:
        assert health.tcp(port) == Seen(True, "tcp port %d" % port, "accepts connections")
        mine = [item for item in health.listeners() if item.port == port]
    assert [item._replace(inode=0) for item in mine] == [Listener("127.0.0.1", port, os.getuid())]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on the loopback interface here")
@pytest.mark.parametrize("address", ["::1", "::"])
def test_listeners_on_ipv6(address):
    with server(says(OK), socket.AF_INET6, address) as port:
        assert health.http(port, "/", 200).healthy


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "127.0.0.2"])
def test_listeners_on_ipv4_addresses(address):
    with server(says(OK), socket.AF_INET, address) as port:
        assert health.http(port, "/", 200).healthy


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0.0.0.0", ["127.0.0.1"]),
        ("192.0.2.1", ["192.0.2.1"]),
        ("::1", ["::1"]),
        ("::", ["::1", "127.0.0.1"]),  # the kernel may have IPv6 and the loopback interface no address of it
        ("::ffff:0.0.0.0", ["127.0.0.1"]),
        ("::ffff:127.0.0.1", ["127.0.0.1"]),
    ],
)
def test_where_a_listener_is_reached(address, expected):
    assert list(health._reachable(address)) == expected


# -- commands ---------------------------------------------------------------------------------------------------------

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may drop a child's groups, as the probe does")


def ask(*argv, timeout=60):
    return health.command(
        list(argv), timeout=timeout, uid=os.getuid(), gid=os.getgid(), environment={"PATH": "/usr/bin:/bin", "MINE": "yes"},
        groups=[], directory="/",
    )  # fmt: skip


@AS_ROOT
@pytest.mark.parametrize(
    ("script", "healthy", "detail"),
    [
        ("exit 0", True, "exit status 0"),
        ("echo fine", True, "exit status 0"),
        ("echo out; echo err >&2; exit 3", False, "exit status 3 out\nerr"),
        ("kill -9 $$", False, "exit status -9"),
        ("echo $MINE $HOME; pwd; exit 1", False, "yes\n/"),
        ("head -c 100000 /dev/zero | tr '\\0' x; echo end; exit 1", False, "xend"),
        ("printf '\\377'; exit 1", False, "exit status 1 \ufffd"),
        ("read line && exit 5; exit 0", True, "exit status 0"),
    ],
)
def test_a_command_speaks_by_its_exit_status(script, healthy, detail):
    seen = ask("/bin/sh", "-c", script)
    assert (seen.healthy, seen.probe) == (healthy, "command sh")
    assert detail in seen.detail
    assert len(seen.detail) < 400


@AS_ROOT
@pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & wait", "trap '' TERM; sleep 60; sleep 60"])
def test_a_command_that_does_not_end_is_not_waited_for(script):
    done = []
    thread = threading.Thread(target=lambda: done.append(ask("/bin/sh", "-c", script, timeout=0.2)), daemon=True)
    thread.start()
    thread.join(50)
    assert done == [Seen(False, "command sh", "did not end within 0.2 s")]


@AS_ROOT
def test_a_command_that_is_not_there():
    assert ask("/no/such/probe") == Seen(False, "command probe", "No such file or directory")


@AS_ROOT
@pytest.mark.skipif(not shutil.which("id"), reason="id is not installed")
@pytest.mark.parametrize(("groups", "told"), [([], "54321"), ([4242, 4343], "54321,4242,4343")])
def test_a_command_runs_as_the_instances_user_in_its_groups_only(groups, told):
    seen = health.command(
        ["sh", "-c", "id; exit 1"], timeout=60, uid=12345, gid=54321, groups=groups, directory="/",
        environment={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert re.search(rf"uid=12345 gid=54321 groups={told}$", seen.detail)


# -- all probes of a manifest -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, (True, "process")),
        ({"notify": True}, (True, "notify")),
        ({"tcp": {"port": "up"}}, (True, "tcp port {up}")),
        ({"tcp": {"port": "down"}, "command": {"argv": ["x"]}}, (False, "tcp port {down}")),
        ({"tcp": {"port": "up"}, "http": {"port": "up", "path": "/", "status": 200}}, (True, "http port {up} /")),
        ({"http": {"port": "up", "path": "/", "status": 204}, "command": {"argv": ["x"]}}, (False, "http port {up} /")),
        ({"http": {"port": "up", "path": "/", "status": 200}, "command": {"argv": ["bad"]}}, (False, "command bad")),
        ({"notify": True, "command": {"argv": ["good"]}}, (True, "command good")),
    ],
)
def test_every_probe_is_asked_until_one_fails(manifest, wanted, expected):
    def run_command(probe):
        return Seen(probe["argv"] == ["good"], "command " + probe["argv"][0], "")

    with server(says(OK)) as up, ports.closed() as down:
        blank = {"tcp": None, "http": None, "command": None, "notify": False}
        facts = {"manifest": manifest(health=dict(blank, **wanted)), "ports": {"up": up, "down": down}}
        seen = health.look(facts, pid="self", run_command=run_command)
    assert (seen.healthy, seen.probe) == (expected[0], expected[1].format(up=up, down=down))

# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets: how they are named, stored and struck out."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.module_utils import credentials
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError


@pytest.mark.parametrize(
    ("systemd", "creds", "expected"),
    [
        (247, "/usr/bin/systemd-creds", credentials.BOUND),
        (249, None, credentials.BOUND),
        (250, "/usr/bin/systemd-creds", credentials.ENCRYPTED),
        (257, "/usr/bin/systemd-creds", credentials.ENCRYPTED),
        (257, None, credentials.LOADED),
    ],
)
def test_how_secrets_are_brought_to_a_unit(monkeypatch, systemd, creds, expected):
    monkeypatch.setattr(credentials.shutil, "which", lambda _name, **_more: creds)
    assert credentials.delivery(systemd) == expected


def test_a_keyed_digest_tells_values_apart_and_needs_the_key():
    digests = [
        credentials.keyed_digest(key, value) for key in (b"a", b"b") for value in ("1234", "1235", 1234, ["1234"], None)
    ]
    assert len(set(digests)) == len(digests)
    assert digests == [
        credentials.keyed_digest(key, v) for key in (b"a", b"b") for v in ("1234", "1235", 1234, ["1234"], None)
    ]
    assert all(len(d) == 12 and set(d) <= set("0123456789abcdef") for d in digests)


def test_the_key_is_random_private_and_kept(tmp_path):
    path = tmp_path / "factory" / "key"
    asked = credentials.load_key(path, create=False)
    assert not path.parent.exists()
    made = credentials.load_key(path, create=True)
    assert made != asked
    assert len(made) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials.load_key(path, create=True) == credentials.load_key(path, create=False) == made


# -- at rest ----------------------------------------------------------------------------------------------------------

SECRETS = {"token": "hunter2", "pem": "-----BEGIN\nAAAA\n-----END\n", "umlaut": "pässwörd"}


def modes(directory):
    return {p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in [directory, *directory.iterdir()]}


def test_loaded_credentials_are_roots_alone(tmp_path):
    place = tmp_path / "credentials"
    credentials.store(place, SECRETS, credentials.LOADED, os.getgid())
    assert modes(place) == {"credentials": "0o700", "token": "0o600", "pem": "0o600", "umlaut": "0o600"}
    assert {p.name: p.read_text() for p in place.iterdir()} == SECRETS
    assert credentials.reveal(place, credentials.LOADED) == SECRETS


def test_bound_credentials_can_be_read_by_the_instances_group(tmp_path, monkeypatch):
    """Who owns them is recorded, not done: only root may give files away."""
    owners = {}
    monkeypatch.setattr(
        credentials.os, "chown", lambda path, uid, gid: owners.update({os.path.basename(path): (uid, gid)})
    )
    place = tmp_path / "credentials"
    credentials.store(place, SECRETS, credentials.BOUND, 4242)
    assert modes(place) == {"credentials": "0o750", "token": "0o440", "pem": "0o440", "umlaut": "0o440"}
    assert owners == dict.fromkeys(["credentials", *SECRETS], (0, 4242))


def fake_creds(place):
    """systemd-creds needs the host's key and a running systemd: this one shifts letters, and notes what it was called with."""
    program = place / "systemd-creds"
    program.write_text(
        '#!/bin/sh\necho "$@" >> "%s/called"\nfor out; do :; done\n'
        'if [ "$1" = encrypt ]; then tr a-z b-za > "$out"; else tr b-za a-z < "$3"; fi\n' % place
    )
    program.chmod(0o755)


def test_encrypted_credentials_reach_systemd_by_a_pipe(tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    fake_creds(programs)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    place = tmp_path / "credentials"
    credentials.store(place, {"token": "hunter2"}, credentials.ENCRYPTED, os.getgid())
    assert modes(place) == {"credentials": "0o700", "token": "0o600"}
    assert (place / "token").read_text() == "ivoufs2"
    called = (programs / "called").read_text()
    assert called == "encrypt --name=token - %s\n" % (place / "token")
    assert credentials.reveal(place, credentials.ENCRYPTED) == {"token": "hunter2"}


@pytest.mark.parametrize("program", [None, "#!/bin/sh\necho no key >&2; exit 1\n"])
def test_that_encryption_fails_is_told_without_the_secret(tmp_path, monkeypatch, program):
    if program:
        (tmp_path / "systemd-creds").write_text(program)
        (tmp_path / "systemd-creds").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"systemd-creds") as caught:
        credentials.store(tmp_path / "credentials", {"token": "hunter2"}, credentials.ENCRYPTED, 0)
    assert "hunter2" not in str(caught.value)


def test_what_cannot_be_read_is_said(tmp_path):
    place = tmp_path / "credentials"
    assert credentials.reveal(place, credentials.LOADED) == {}
    credentials.store(place, {"token": "hunter2", credentials.CONFIG: "{}"}, credentials.LOADED, 0)
    (place / "binary").write_bytes(b"\xff\xfe")
    assert credentials.reveal(place, credentials.LOADED) == {"binary": None, "token": "hunter2"}


# -- evidence ---------------------------------------------------------------------------------------------------------

PEM = "-----BEGIN KEY-----\nMIIabc\n  indented\n\nxyz==\n-----END KEY-----\n"


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        ("login with hunter2 failed", ["hunter2"], "login with ******** failed"),
        ("hunter2hunter2", ["hunter2"], "********" * 2),
        ("nothing here", ["hunter2"], "nothing here"),
        ("nothing here", [], "nothing here"),
        ("nothing here", [""], "nothing here"),
        ("nothing here", ["\n \n"], "nothing here"),
        ("got hunter2", ["hunter2\n"], "got ********"),
        ("abcdef abc", ["abc", "abcdef"], "******** ********"),
        ("key MIIabc and xyz== and indented", [PEM], "key ******** and ******** and ********"),
        ("whole: " + PEM, [PEM], "whole: ********"),
        ("a (b) [c] .*", [".*", "(b)"], "a ******** [c] ********"),
        (credentials.head("got hunter2", 8), ["hunter2"], "got ********[...]"),
        (credentials.head("got hunter2", 10) + " (not healthy)", ["hunter2"], "got ********[...] (not healthy)"),
        (credentials.tail("got hunter2 here", 8), ["hunter2"], "[...]******** here"),
        (credentials.tail("got hunter2 here", 4), ["hunter2"], "[...]here"),
        (credentials.head("got hunter2", 11), ["hunter2"], "got ********"),
    ],
)
def test_secrets_are_struck_out(text, secrets, expected):
    assert credentials.redact(text, secrets).rstrip("\n") == expected


@given(st.lists(st.text("ab \n", max_size=8), max_size=4), st.text("ab \n", max_size=40))
def test_no_line_of_any_secret_is_left(secrets, text):
    shown = credentials.redact(text, secrets)
    for secret in secrets:
        for line in [secret, *secret.splitlines()]:
            assert not line.strip() or line.strip() not in shown


@given(
    st.text("abc", min_size=4, max_size=8), st.integers(0, 30), st.sampled_from([credentials.head, credentials.tail])
)
def test_no_three_characters_of_a_secret_that_was_cut_are_left(secret, size, cut):
    shown = credentials.redact(cut("-" * 9 + secret + "-" * 9, size), [secret])
    assert not any(secret[i : i + 3] in shown for i in range(len(secret) - 2))

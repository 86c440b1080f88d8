# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job that every contender does: agents of 300 files and 5 MB that look like real code, the same on every run."""

import gzip
import io
import json
import random
import shutil
import tarfile
from pathlib import Path

MODULES, DATA = 180, 119  # and bin/agent
MODULE_BYTES, DATA_BYTES = 10_000, 27_000
SECRET = "correct-horse-battery-staple"
VERSIONS = {"old": "1.0.0", "new": "1.0.1"}
_WORDS = """
agent batch buffer cache channel client clock config context count cursor decode delay device digest encode entry error event
field filter frame group handle header index item key label latency level limit link list lock loop mask message meter method
mode model name node offset option order packet page parse path peer point policy pool port probe queue range rate reading
record region report request reset result retry route rule sample scale schema score seed sensor server session signal size
slot source stage state status step store stream switch table target task threshold timeout token topic trace unit update user
value vector verify version volume watch weight window worker zone
""".split()  # noqa: SIM905
PROGRAM = '''#!/usr/bin/env python3
"""Answers on /healthz once everything is imported."""

import importlib
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for number in range(20):
    importlib.import_module("app.module_%03d" % number)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *arguments):
        pass


assert os.path.getsize(os.environ["CREDENTIALS_DIRECTORY"] + "/token")
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever(poll_interval=3600)
'''
MANIFEST = """\
name: {name}
version: "{version}"
description: An agent to measure with.
source: .
runtime: {{type: python, python: ">=3.9"}}
command: [bin/agent, "{{port.http}}"]
ports: {{http: {port}}}
health:
  http: {{port: http, path: /healthz, status: 200}}
  start_timeout: 120
  bake: 0
secrets: [token]
resources: {{memory: 128M, tasks: 64}}
permissions: {{outbound: [0.0.0.0/0, "::/0"]}}
stop: {{signal: SIGTERM, timeout: 5}}
"""


def _module(words: random.Random) -> str:
    text = ['"""%s."""\n' % " ".join(words.choices(_WORDS, k=8)).capitalize()]
    size = len(text[0])
    while size < MODULE_BYTES:
        name, first, second, third = (word + "_" + words.choice(_WORDS) for word in words.sample(_WORDS, 4))
        function = f"""
def {name}_{words.randrange(1000)}({first}, {second}={words.randrange(100)}, *, {third}=None):
    \"\"\"{" ".join(words.choices(_WORDS, k=words.randrange(5, 20))).capitalize()}.\"\"\"
    if {third} is not None and {first} > {words.random():.6f}:
        return {{"{words.choice(_WORDS)}": {first} * {words.randrange(1, 99)}, "{words.choice(_WORDS)}": {third}}}
    {name} = [item for item in range({second}) if item % {words.randrange(2, 9)}]
    return {name} or "{" ".join(words.choices(_WORDS, k=6))}"
"""
        text.append(function)
        size += len(function)
    return "".join(text)


def _data(words: random.Random) -> str:
    rows = []
    size = 0
    while size < DATA_BYTES:
        row = json.dumps({w: round(words.random() * 1000, words.randrange(5)) for w in words.sample(_WORDS, 5)})
        rows.append(row)
        size += len(row) + 1
    return "\n".join(rows) + "\n"


def write(root: Path, name: str, port: int, version: str) -> Path:
    """The source of one version of an agent; the new version differs from the old one in one module."""
    words = random.Random(name)
    place = root / f"{name}-{version}"
    shutil.rmtree(place, ignore_errors=True)
    for directory in ("app", "bin", "data"):
        (place / directory).mkdir(parents=True)
    for number in range(MODULES):
        text = _module(words)
        if number == 7 and version == VERSIONS["new"]:
            text = _module(random.Random(version))
        (place / "app" / f"module_{number:03}.py").write_text(text)
    for number in range(DATA):
        (place / "data" / f"table_{number:03}.jsonl").write_text(_data(words))
    (place / "bin" / "agent").write_text(PROGRAM)
    (place / "bin" / "agent").chmod(0o755)
    (place / "agent.yml").write_text(MANIFEST.format(name=name, version=version, port=port))
    return place


def archive(source: Path) -> Path:
    """The source as a compressed archive beside it, as a release is usually kept."""
    target = source.parent / f"{source.name}.tar.gz"
    with (
        open(target, "wb") as file,
        gzip.GzipFile("", "wb", 6, file, 0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.name != "agent.yml":
                entry = tarfile.TarInfo(str(path.relative_to(source)))
                entry.size, entry.mode = path.stat().st_size, path.stat().st_mode & 0o777
                tar.addfile(entry, io.BytesIO(path.read_bytes()))
    return target

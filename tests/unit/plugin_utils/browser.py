# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, spoken to by way of its driver: as much of WebDriver (W3C) as the tests need."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# no-sandbox: a test may run as root or in a container, and opens pages of its own only
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]


class Browser:
    """One window. `url` is the driver's."""

    def __init__(self, url: str, program: str, profile: Path) -> None:
        self._url, self._session = url, ""
        options = {"binary": program, "args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self._session = "/session/" + self._post("/session", capabilities={"alwaysMatch": wanted})["sessionId"]

    def _post(self, path: str, **document: Any) -> Any:
        request = urllib.request.Request(
            self._url + self._session + path, json.dumps(document).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def command(self, name: str, **parameters: Any) -> Any:
        """One of the DevTools protocol."""
        return self._post("/goog/cdp/execute", cmd=name, params=parameters)

    def run(self, script: str) -> Any:
        return self._post("/execute/sync", script=script, args=[])

    def look(self, width: int, scheme: str) -> None:
        """How wide the window is, and whether its user likes it light or dark."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path: Path) -> tuple[list[str], list[str]]:
        """Open a file. Returns the console's messages, and the URLs of everything that was asked for."""
        self._logged("browser"), self._logged("performance")
        self._post("/url", url=path.as_uri())
        events = [json.loads(entry["message"])["message"] for entry in self._logged("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        return [entry["message"] for entry in self._logged("browser")], asked

    def _logged(self, kind: str) -> list[dict[str, Any]]:
        return list(self._post("/se/log", type=kind))

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        self.command("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield
        finally:
            self.command("Emulation.setScriptExecutionDisabled", value=False)

    def accessibility(self) -> list[dict[str, str]]:
        """What a screen reader is told: role and name of each node."""
        nodes = self.command("Accessibility.getFullAXTree")["nodes"]
        return [
            {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
            for node in nodes
            if not node["ignored"]
        ]

    def end(self) -> None:
        urllib.request.urlopen(urllib.request.Request(self._url + self._session, method="DELETE"), timeout=60).close()


@contextmanager
def running(driver: str, program: str, folder: Path) -> Iterator[Browser]:
    """A browser and its driver; both are gone afterwards."""
    log = folder / "driver.log"
    with open(log, "wb") as output:
        process = subprocess.Popen([driver, "--port=0"], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"successfully on port (\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        browser = Browser(f"http://127.0.0.1:{found[1]}", program, folder / "profile")
        try:
            yield browser
        finally:
            browser.end()
    finally:
        process.terminate()
        process.wait(60)

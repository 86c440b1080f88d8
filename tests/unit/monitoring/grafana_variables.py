# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dashboard's variables put into its queries as Grafana's Prometheus data source does it, and what is answered then."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus

Values = Mapping[str, str]
NAME = re.compile(r"\$\{([^}]+)\}|\$(\w+)")
BUILT_IN = {"__rate_interval": "1m", "__range": "6h"}


def texts(document: Any) -> Iterator[str]:
    """Every text in it, at any depth."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for value in document.values():
            yield from texts(value)
    elif isinstance(document, list):
        for value in document:
            yield from texts(value)


def names(text: str) -> list[str]:
    return [braced or plain for braced, plain in NAME.findall(text)]


def filled(text: str, values: Values) -> str:
    return NAME.sub(lambda match: {**BUILT_IN, **values}[match[1] or match[2]], text)


def everything(dashboard: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["allValue"] for item in dashboard["templating"]["list"] if item["type"] == "query"}


def chosen(client: prometheus.Client, dashboard: dict[str, Any]) -> dict[str, str]:
    """All values of each variable, chosen one by one: several become (a|b), escaped for a regular expression within quotes.

    A variable that has none is empty.
    """
    found: dict[str, str] = {}
    for item in dashboard["templating"]["list"]:
        if item["type"] == "query":
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", item["query"]["query"])
            assert match, item["query"]
            query = f"count by ({match[2]}) ({filled(match[1], found)})"
            labels = [series["labels"].get(match[2]) for series in client.ask(prometheus.Question(query)).series]
            escaped = [re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value) for value in sorted(filter(None, labels))]
            found[item["name"]] = f"({'|'.join(escaped)})" if len(escaped) > 1 else "".join(escaped)
    return found


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Without the headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def silent(client: prometheus.Client, dashboard: dict[str, Any]) -> list[str]:
    """The queries that are not answered with a number, and the variables without values.

    With all values of the variables ("All"), and with each of them chosen.
    """
    selected = chosen(client, dashboard)
    return [f"${name}" for name, value in selected.items() if not value] + [
        f"{panel['title']} ({target['refId']}): {query}"
        for values in (everything(dashboard), selected)
        for panel in panels(dashboard)
        for target in panel["targets"]
        if not _answered(client, query := filled(target["expr"], values))
    ]


def _answered(client: prometheus.Client, query: str) -> bool:
    return any(math.isfinite(float(item["value"])) for item in client.ask(prometheus.Question(query)).series)

# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana's dashboard model as plain data: what these dashboards need of it, in functions that give it one look.

In queries, ``WHERE`` stands for the dashboard's selection by its variables, as label matchers.
"""

from typing import Any

Json = dict[str, Any]
Query = tuple[str, str]
"""What its series are called (Prometheus' labels in double braces), and PromQL"""
Steps = list[tuple[float | None, str]]
"""From which value on it has which colour; the first from None on"""

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RUNBOOKS = "https://github.com/agentfactory/agentfactory.core/blob/main/docs/runbooks"
WIDTH = 24
TAG = "agentfactory"
LETTERS = "ABCDEFGHIJ"
PLAIN: Steps = [(None, "blue")]
STATES = ["running", "proving", "stopped", "failed", "crash-looping", "not-activated"]
STATE_COLORS = ["green", "blue", "text", "red", "dark-red", "text"]


def above(limit: float, color: str = "red") -> Steps:
    return [(None, "green"), (limit, color)]


def bad_from(warn: float, bad: float) -> Steps:
    return [(None, "green"), (warn, "orange"), (bad, "red")]


def bad_below(bad: float, warn: float) -> Steps:
    return [(None, "red"), (bad, "orange"), (warn, "green")]


def to(dashboard: str, **variables: str) -> str:
    """The way to another dashboard, with the same data source and times."""
    given = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return f"/d/agentfactory-{dashboard}?${{datasource:queryparam}}{given}&${{__url_time_range}}"


def cell(column: str) -> str:
    """The value of another column in the same row of a table."""
    return f"${{__data.fields.{column}}}"


# -- panels -----------------------------------------------------------------------------------------------------------


def row(title: str) -> Json:
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"h": 1, "w": WIDTH}}


def timeseries(
    title: str, description: str, unit: str, *queries: Query, width: int = 12, runbooks: tuple[str, ...] = (),
    steps: Steps | None = None, most: float | None = None, stacked: bool = False,
) -> Json:  # fmt: skip
    """Lines over time; with `steps`, a dashed line at each of their values."""
    custom: Json = {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if stacked else 0, "showPoints": "never", "spanNulls": False,
        "thresholdsStyle": {"mode": "dashed" if steps else "off"}, "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }  # fmt: skip
    defaults = {"custom": custom, "color": {"mode": "palette-classic"}, "min": 0, **({"max": most} if most else {})}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    made = _panel("timeseries", title, description, unit, defaults, options, steps or PLAIN, runbooks)
    return made | {"targets": _targets(queries), "gridPos": {"h": 8, "w": width}}


def stat(
    title: str, description: str, unit: str, query: str, *, steps: Steps | None = None, width: int = 4, legend: str = "",
    runbooks: tuple[str, ...] = (), words: Json | None = None, decimals: int | None = None,
) -> Json:  # fmt: skip
    """What it is now, as a number on its colour."""
    defaults: Json = {"color": {"mode": "thresholds"}, "mappings": words_for(words or {})}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""}, "colorMode": "background", "graphMode": "none",
        "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
    }  # fmt: skip
    made = _panel("stat", title, description, unit, defaults, options, steps or PLAIN, runbooks)
    return made | {"targets": _targets([(legend, query)], instant=True), "gridPos": {"h": 4, "w": width}}


def timeline(
    title: str, description: str, query: Query, names: list[str], colors: list[str], runbooks: tuple[str, ...] = ()
) -> Json:
    """Which of these states each series was in, and when; their numbers begin at 1."""
    words = {str(number): (name, color) for number, (name, color) in enumerate(zip(names, colors, strict=True), 1)}
    defaults = {
        "custom": {"fillOpacity": 70, "lineWidth": 0}, "color": {"mode": "thresholds"}, "mappings": words_for(words),
    }  # fmt: skip
    options = {
        "mergeValues": True, "showValue": "never", "rowHeight": 0.9, "alignValue": "left", "tooltip": {"mode": "single", "sort": "none"},
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
    }  # fmt: skip
    made = _panel("state-timeline", title, description, "none", defaults, options, [(None, "text")], runbooks)
    return made | {"targets": _targets([query]), "gridPos": {"h": 8, "w": WIDTH}}


def table(
    title: str, description: str, columns: dict[str, Json], *, links: dict[str, str] | None = None, width: int = WIDTH,
    empty: str = "", runbooks: tuple[str, ...] = (),
) -> Json:  # fmt: skip
    """One row for each set of labels, which are its first columns; `columns`: heading -> `column`; `links`: label -> where to."""
    # What Grafana calls the values of several queries, and of one.
    names = [f"Value #{letter}" for letter in LETTERS[: len(columns)]] if len(columns) > 1 else ["Value"]
    overrides = [_override(heading, name, one) for (heading, one), name in zip(columns.items(), names, strict=True)]
    overrides += [
        _by_name(label, {"id": "links", "value": [{"title": f"Open {label}", "url": url, "targetBlank": False}]})
        for label, url in (links or {}).items()
    ]
    defaults: Json = {"custom": {"align": "auto", "filterable": True}, "color": {"mode": "thresholds"}}
    if empty:
        defaults["noValue"] = empty
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "footer": {"show": False, "countRows": False, "reducer": ["sum"]},
    }
    made = _panel("table", title, description, "none", defaults, options, PLAIN, runbooks)
    made["fieldConfig"]["overrides"] = overrides
    # One frame for each query; rows with the same labels become one, and the time of the question says nothing.
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}},
    ]
    queries = [("", one["query"]) for one in columns.values()]
    return made | {"targets": _targets(queries, instant=True, form="table"), "gridPos": {"h": 8, "w": width}}


def column(query: str, unit: str = "none", steps: Steps | None = None, words: Json | None = None) -> Json:
    return {"query": query, "unit": unit, "steps": steps, "words": words or {}}


def words_for(words: Json) -> list[Json]:
    """Value mappings: ``{"0": ("down", "red")}``."""
    if not words:
        return []
    options = {
        value: {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}]


def _override(heading: str, name: str, one: Json) -> Json:
    properties = [{"id": "displayName", "value": heading}, {"id": "unit", "value": one["unit"]}]
    if one["words"]:
        properties.append({"id": "mappings", "value": words_for(one["words"])})
    if one["steps"]:
        properties += [
            {"id": "thresholds", "value": _thresholds(one["steps"])},
            {"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}},
        ]
    return _by_name(name, *properties)


def _by_name(name: str, *properties: Json) -> Json:
    return {"matcher": {"id": "byName", "options": name}, "properties": list(properties)}


def _thresholds(steps: Steps) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def _panel(
    kind: str, title: str, description: str, unit: str, defaults: Json, options: Json, steps: Steps, runbooks: tuple[str, ...]
) -> Json:  # fmt: skip
    return {
        "type": kind, "title": title, "description": description, "datasource": SOURCE, "options": options,
        "fieldConfig": {"defaults": {"unit": unit, "thresholds": _thresholds(steps), **defaults}, "overrides": []},
        "links": [_link(f"{name}: what to do", f"${{runbook_base}}/{name}.md") for name in runbooks],
    }  # fmt: skip


def _targets(
    queries: list[Query] | tuple[Query, ...], *, instant: bool = False, form: str = "time_series"
) -> list[Json]:
    return [
        {
            "refId": letter, "datasource": SOURCE, "expr": expression, "legendFormat": legend or "__auto", "format": form,
            "instant": instant, "range": not instant, "editorMode": "code",
        }
        for (legend, expression), letter in zip(queries, LETTERS, strict=False)
    ]  # fmt: skip


def _link(title: str, url: str) -> Json:
    return {
        "title": title, "type": "link", "url": url, "icon": "doc", "tooltip": "", "tags": [], "asDropdown": False,
        "targetBlank": True, "includeVars": False, "keepTime": False,
    }  # fmt: skip


# -- variables --------------------------------------------------------------------------------------------------------


def variable(name: str, label: str, query: str) -> Json:
    """One that takes its values from Prometheus: several may be chosen, or all."""
    everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {
        "type": "query", "name": name, "label": label, "datasource": SOURCE,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*", "current": everything, "hide": 0, "regex": "",
    }  # fmt: skip


def _given() -> list[Json]:
    """Every dashboard's own: which Prometheus, and where the runbooks are."""
    return [
        {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "regex": "", "refresh": 1,
         "multi": False, "includeAll": False, "hide": 0, "current": {}, "options": []},
        {"type": "constant", "name": "runbook_base", "query": RUNBOOKS, "hide": 2, "skipUrlSync": True,
         "current": {"selected": False, "text": RUNBOOKS, "value": RUNBOOKS}},
    ]  # fmt: skip


# -- dashboards -------------------------------------------------------------------------------------------------------


def dashboard(
    name: str, title: str, description: str, panels: list[Json], *, variables: list[Json], where: str, since: str = "now-6h"
) -> Json:  # fmt: skip
    """A whole dashboard: its panels placed from left to right, line by line, and numbered."""
    _place(panels)
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
        for target in panel.get("targets", []):
            target["expr"] = target["expr"].replace("WHERE", where)
    others = _link("Agent factory", "") | {
        "type": "dashboards", "icon": "external link", "tags": [TAG], "asDropdown": True, "targetBlank": False,
        "includeVars": True, "keepTime": True,
    }  # fmt: skip
    return {
        "uid": f"agentfactory-{name}", "title": title, "description": description, "tags": [TAG], "schemaVersion": 36,
        "editable": True, "graphTooltip": 1, "timezone": "browser", "refresh": "30s", "time": {"from": since, "to": "now"},
        "annotations": {"list": []}, "links": [others, _link("Runbooks", "${runbook_base}")],
        "templating": {"list": _given() + variables}, "panels": panels,
    }  # fmt: skip


def _place(panels: list[Json]) -> None:
    x, y, height = 0, 0, 0
    for panel in panels:
        size = panel["gridPos"]
        if x + size["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        size.update(x=x, y=y)
        x, height = x + size["w"], max(height, size["h"])

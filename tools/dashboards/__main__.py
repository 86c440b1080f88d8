# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the dashboards of the role monitoring: ``python tools/dashboards [FOLDER]``."""

import json
import sys
from pathlib import Path

import agents
import fleet
import genai
import hosts
import loadbalancer
import monitoring
import rollout
import slo

ROOT = Path(__file__).resolve().parents[2]
ALL = (fleet, agents, hosts, loadbalancer, slo, rollout, genai, monitoring)


def main(folder: Path) -> None:
    for module in ALL:
        made = module.dashboard()
        name = made["uid"].removeprefix("agentfactory-")
        (folder / f"{name}.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "roles/monitoring/files/dashboards")

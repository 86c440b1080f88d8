# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many, how available, where: the three models asked together, and one plan of their answers.

`demand` says how many an agent needs, `decide` puts everything into a plan, `document` is the plan as a file and what makes it outdated.
"""

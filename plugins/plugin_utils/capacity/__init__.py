# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many instances a load needs: queueing models in plain Python. ``answer`` and ``network`` are the ways in.

Times are seconds, rates per second. Every function is pure: the same arguments, the seed among them, give the same result.
"""

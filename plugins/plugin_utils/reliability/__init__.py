# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How available, how many, and how likely to fail: models of reliability in pure functions of the standard library.

`structure` is availability over shared failure domains, `importance` what contributes to it, `layout` how many and where,
`lifetimes` and `trend` what was observed, `history` how it is read from samples, `ask` all of it by a module's options.
"""

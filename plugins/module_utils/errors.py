# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one family of errors that the host's library raises."""


class HostError(Exception):
    """Something an operator must know; its text is the whole message: what, where, what was seen."""


class Unpackaged(HostError):
    """All that keeps this host from what is wanted is that nothing was packaged for its platform."""


class Busy(HostError):
    """Another run holds this host; trying again later can succeed."""


def in_words(error: Exception) -> str:
    """What to say of an exception that is being handled: its text where that is for people, else where it came from too."""
    if isinstance(error, (HostError, OSError)):
        return str(error)
    import traceback  # 2 ms, in every call

    return traceback.format_exc(limit=-4)

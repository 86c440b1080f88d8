# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all unit tests share. Python 3.9 syntax."""

import os

from hypothesis import HealthCheck, settings

# No deadline: on a busy machine with two cores it measures the neighbours. In CI the same examples each time, so that
# a failure there is a failure here; elsewhere new ones.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module and the lookup that ask a Prometheus have in common."""


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  time:
    description:
      - The time to ask about, as seconds since 1970 or as V(2026-11-23T17:00:00Z); by default now.
      - O(time) and O(start) are mutually exclusive.
    type: str
  start:
    description: The beginning of a range, written as O(time) is. With it this is a range query, and needs O(step).
    type: str
  end:
    description: The end of the range; by default now.
    type: str
  step:
    description: The distance between the samples of a range, as V(30s), V(5m), or a number of seconds.
    type: str
"""

    CONNECTION = r"""
options:
  url:
    description:
      - Where the Prometheus is, as V(https://prometheus.example.net:9090), with a path if it is served under one.
      - By default the variable C(agentfactory_prometheus_url).
    type: str
  timeout:
    description:
      - Seconds for one answer. It is also told to the Prometheus as the limit for working on the query.
      - Where nobody is there, or status 502 or 503 says so, it is tried three times in all. A query that took too long is not.
    type: float
    default: 30.0
  validate_certs:
    description: Whether the server must prove who it is. If not, anybody in between can read all, also O(password) and O(token).
    type: bool
    default: true
  ca_path:
    description:
      - The authorities to trust, instead of the machine's; a PEM file or a directory as OpenSSL wants it.
      - As with each path here, a relative one is taken from the playbook's directory.
    type: str
  client_cert:
    description: The PEM file of a client certificate to show. It may hold the key too.
    type: str
  client_key:
    description: The PEM file of its key, which must not be encrypted.
    type: str
  username:
    description: For basic authentication; needs O(password) or O(password_file), and excludes O(token) and O(token_file).
    type: str
  password:
    description: The password.
    type: str
  password_file:
    description: A file on the controller that holds the password. A line end after it does not count.
    type: str
  token:
    description: A bearer token, instead of a user's name.
    type: str
  token_file:
    description: A file on the controller that holds the bearer token. A line end after it does not count.
    type: str
requirements:
  - requests on the controller
notes:
  - C(NaN), C(+Inf) and C(-Inf) are given as strings, for JSON has no numbers for them. All other numbers are floats. The filter
    C(float) makes a number of both.
  - A redirect is an error that says where it leads; credentials go nowhere but to O(url). Proxies of the environment are used.
"""

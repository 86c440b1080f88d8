# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a Prometheus over its HTTP API, without a secret in anything that is said about it."""

import base64
import http.client
import math
import os
import re
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .prometheus_answer import Answer, NoAnswer, PrometheusError, TimedOut, Unavailable, parse

if TYPE_CHECKING:
    import requests

ATTEMPTS = 3  # where nobody answers
BACKOFF = 0.5  # seconds before the second attempt; doubled for each after it
NOBODY_BEHIND = (502, 503)  # of a proxy before it, and of one that is starting
GIVEN_UP = ("timeout", "canceled")  # errorTypes that come with 503 too, of a query that is too much for it
REFUSED = {401: "it does not know who asks", 403: "it does not allow this"}


@dataclass(frozen=True)
class Question:
    """With ``start`` over a range, else at one time. Times as a person gives them; ``end`` and ``time`` are now by default."""

    query: str
    time: str | None = None
    start: str | None = None
    end: str | None = None
    step: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Question":
        return cls(**{name: options[name] for name in ("query", "time", "start", "end", "step")})

    @property
    def path(self) -> str:
        return "/api/v1/query_range" if self.start else "/api/v1/query"

    def fields(self) -> dict[str, str]:
        if self.start:
            end = moment("end", self.end) if self.end else f"{time.time():.3f}"
            return {"query": self.query, "start": moment("start", self.start), "end": end, "step": str(self.step)}
        return {"query": self.query} | ({"time": moment("time", self.time)} if self.time else {})


def moment(name: str, given: str) -> str:
    """Seconds since 1970, of seconds or of RFC 3339, also as YAML's own timestamps become text."""
    with suppress(ValueError):
        if math.isfinite(seconds := float(given)):
            return f"{seconds:.3f}"
    with suppress(ValueError):
        found = datetime.fromisoformat(given.strip())
        if found.tzinfo:
            return f"{found.timestamp():.3f}"
    raise PrometheusError(
        f"{name}: {given!r} is neither seconds since 1970 nor a time with its zone, as 2026-11-23T17:00:00Z"
    )


@dataclass(frozen=True)
class Connection:
    """Where and as whom to ask. ``authorization`` is the header's value, and like ``secrets`` never shown."""

    url: str
    timeout: float = 30
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    validate_certs: bool = True
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, options: Mapping[str, Any], place: Callable[[str], str] = os.path.expanduser) -> "Connection":
        """From the options of the module or the lookup; ``place`` says where a relative path is."""
        authorization, secrets = _authorization(options, place)
        paths = {name: place(options[name]) for name in ("ca_path", "client_cert", "client_key") if options[name]}
        for name, path in paths.items():
            if not os.access(path, os.R_OK):
                raise PrometheusError(f"{name}: {path} is not there or cannot be read")
        if options["timeout"] <= 0:
            raise PrometheusError("timeout: must be more than 0 seconds")
        return cls(
            url=_checked(options["url"]), timeout=options["timeout"], validate_certs=options["validate_certs"],
            authorization=authorization, secrets=secrets, **paths,
        )  # fmt: skip

    def arguments(self) -> dict[str, Any]:
        """What `requests` is to be given for it, besides the timeout."""
        cert = (self.client_cert, self.client_key or self.client_cert)
        return {
            "auth": self._sign,  # also without a header: else ~/.netrc is looked at
            "cert": cert if self.client_cert else None,
            "verify": self.ca_path or True if self.validate_certs else False,
            "allow_redirects": False,  # to whom credentials go is not for a server to say
        }

    def hide(self, text: str) -> str:
        """Without the secrets, should somebody send them back."""
        for secret in self.secrets:
            text = text.replace(secret, "********") if secret else text
        return text

    def _sign(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        if self.authorization:
            request.headers["Authorization"] = self.authorization
        return request


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment:
        raise PrometheusError("url: must be as http://prometheus.example.net:9090, with a path if need be")
    if "@" in parts.netloc:
        raise PrometheusError("url: a user's name and password do not belong into it, there are options for them")
    return url.rstrip("/")


def _authorization(options: Mapping[str, Any], place: Callable[[str], str]) -> tuple[str, tuple[str, ...]]:
    """The header's value, and what must not be shown."""
    token, password = _secret(options, "token", place), _secret(options, "password", place)
    if token is not None:
        if not re.fullmatch(r"[!-~]+", token):
            raise PrometheusError("token: is empty, or has characters that no header can carry")
        return f"Bearer {token}", (token,)
    if options["username"] is None:
        return "", ()
    if password is None or ":" in options["username"]:
        raise PrometheusError("username: needs a password, and may have no colon")
    encoded = base64.b64encode(f"{options['username']}:{password}".encode()).decode()
    return f"Basic {encoded}", (encoded, password)


def _secret(options: Mapping[str, Any], name: str, place: Callable[[str], str]) -> str | None:
    file = options[f"{name}_file"]
    if not file:
        given: str | None = options[name]
        return given
    try:
        with open(place(file), encoding="utf-8") as opened:
            return opened.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise PrometheusError(f"{name}_file: {place(file)}: {reason}") from None


class Client:
    """Asks; nobody there is tried again a few times. Every error is a PrometheusError that names the URL."""

    def __init__(
        self, connection: Connection, *, attempts: int = ATTEMPTS, sleep: Callable[[float], None] = time.sleep
    ):
        import requests

        self.connection = connection
        self.attempts, self.sleep = attempts, sleep
        self._method = "POST"  # a long query does not fit into a URL
        self._session = requests.Session()

    def ask(self, question: Question) -> Answer:
        for attempt in range(1, self.attempts + 1):
            try:
                return self._try(question)
            except TimedOut:
                raise
            except Unavailable:
                if attempt == self.attempts:
                    raise
            self.sleep(BACKOFF * 2 ** (attempt - 1))
        raise AssertionError("attempts must be at least 1")

    def _try(self, question: Question) -> Answer:
        try:
            status, place, body = self._exchange(question)
            if status == 405 and self._method == "POST":
                self._method = "GET"
                status, place, body = self._exchange(question)
            answer = self._read(status, place, body)
        except PrometheusError as error:
            error.args = (self.connection.hide(f"{self.connection.url}: {error}"),)
            raise
        return Answer(answer.type, answer.series, [self.connection.hide(text) for text in answer.warnings])

    def _read(self, status: int, place: str, body: bytes) -> Answer:
        if status in REFUSED:
            given = self.connection.authorization.split(" ")[0]
            with_what = f"with the {given.lower()} credentials given" if given else "no credentials were given"
            raise PrometheusError(f"status {status}: {REFUSED[status]} ({with_what})", "unauthorized")
        if 300 <= status < 400:
            raise PrometheusError(f"status {status}: it sends us to {_origin(place)}; give that as url if it is right")
        try:
            answer = parse(body)
        except NoAnswer as error:
            excerpt = _excerpt(self.connection.hide(body.decode("utf-8", "replace")))
            wrong = f"status {status}, and this is no answer of the API ({error}): {excerpt}"
            raise (Unavailable if status in NOBODY_BEHIND else NoAnswer)(wrong) from error
        except PrometheusError as error:
            if status in NOBODY_BEHIND and error.kind not in GIVEN_UP:
                raise Unavailable(str(error), error.kind) from error
            raise
        if status != 200:
            raise NoAnswer(f"status {status} with an answer")
        return answer

    def _exchange(self, question: Question) -> tuple[int, str, bytes]:
        """Status, where a redirect leads, and body."""
        connection = self.connection
        fields = question.fields() | {"timeout": f"{connection.timeout:.3f}"}
        until = time.monotonic() + connection.timeout
        with (
            translated(connection.timeout),
            self._session.request(
                self._method,
                connection.url + question.path,
                **{"data" if self._method == "POST" else "params": fields},  # type: ignore[arg-type]
                **connection.arguments(),
                timeout=connection.timeout,
                stream=True,
            ) as response,
        ):
            body = bytearray()
            for part in response.iter_content(1 << 16):
                body += part
                if time.monotonic() > until:
                    raise TimedOut(f"no whole answer within {connection.timeout:g} s")
            return response.status_code, response.headers.get("Location", ""), bytes(body)


@contextmanager
def translated(timeout: float) -> Iterator[None]:
    """Whatever `requests` raises becomes a PrometheusError that says why."""
    import requests
    import urllib3

    try:
        with warnings.catch_warnings():
            # that certificates are not looked at is what was asked for
            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
            yield
    except requests.Timeout as error:
        raise TimedOut(f"no answer within {timeout:g} s") from error
    except requests.exceptions.ContentDecodingError as error:
        raise NoAnswer("what it sent cannot be decoded") from error
    except (requests.RequestException, ValueError, OSError) as error:
        raise _reason(error, timeout) from error


def _reason(error: BaseException, timeout: float) -> PrometheusError:
    """What went wrong at the bottom of it; Unavailable where it may be otherwise later."""
    import requests

    chain = list(_chain(error))
    for inner in chain:
        if isinstance(inner, TimeoutError):
            return TimedOut(f"no whole answer within {timeout:g} s")
        if isinstance(inner, ssl.SSLError) and not isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return PrometheusError(f"TLS: {getattr(inner, 'verify_message', '') or inner.reason or inner}")
        if isinstance(inner, http.client.BadStatusLine) and not isinstance(inner, http.client.RemoteDisconnected):
            return NoAnswer("what answers there does not speak HTTP")
    if not isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return PrometheusError(f"{type(error).__name__}: {error}")
    for inner in reversed(chain):
        if isinstance(inner, OSError) and inner.strerror and not isinstance(inner, requests.RequestException):
            return Unavailable(inner.strerror)
    return Unavailable("the connection was cut")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The errors that it wraps, outermost first: libraries keep them in four places."""
    left, seen = [error], set()
    while left:
        error = left.pop(0)
        if id(error) not in seen:
            seen.add(id(error))
            yield error
            held = [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args]
            left += [inner for inner in held if isinstance(inner, BaseException)]


def _origin(place: str) -> str:
    """A redirect's target without what may be secret in it."""
    try:
        parts = urlsplit(place)
    except ValueError:
        return "an address that cannot be read"
    return (
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path or "nowhere"
    )


def _excerpt(body: str) -> str:
    text = re.sub(r"[^!-~]+", " ", body[:2000]).strip()
    return repr(text[:100]) if text else "nothing"

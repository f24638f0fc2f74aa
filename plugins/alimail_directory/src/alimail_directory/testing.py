"""A strict Open Platform API on loopback: what is publicly known of it, and not a word more.

It refuses fields, parameters and forms that are not in its tables, tokens that it did not give or that have ended,
and more calls a second than the domain has. On wish it fails, loses its answers before or after it acted, and shows
in its listings only what is older than a moment. It holds everything in memory and forgets nothing that it was asked.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import define, field

from alimail_core import Secret
from alimail_directory.api import PAGE, ROOT, STATES, TOKEN_FIELDS, TOKEN_PATH
from alimail_directory.options import ApiOptions

Json = dict[str, Any]


class Fault(Exception):
    """An answer other than 200."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}


class Lost(Exception):
    """The connection ends here without an answer."""


Strike = Callable[[], None]
"""Called in place of the answer; raises ``Fault`` or ``Lost``."""

USER_FIELDS: Mapping[str, type] = {
    "email": str, "password": str, "name": str, "departmentIds": list, "nickname": str, "employeeNo": str,
    "jobTitle": str, "workLocation": str, "officeLocation": str, "phone": str, "workPhone": str, "status": str,
    "managerEmail": str, "isHidden": bool, "forceChangePasswordNextSignIn": bool, "employeeType": str,
}  # fmt: skip
USER_CHANGES = {key: value for key, value in USER_FIELDS.items() if key not in ("password", "employeeType")}
DEPARTMENT_FIELDS: Mapping[str, type] = {"name": str, "parentId": str, "managers": list, "email": str}
GROUP_FIELDS: Mapping[str, type] = {"name": str, "email": str, "admins": list, "allowedSenderPolicy": str}


@define(slots=False)
class OpenPlatform:
    """The service itself, without its network: one organisation."""

    application_id: str = "app"
    application_secret: str = field(factory=lambda: secrets.token_urlsafe(16))
    permissions: set[str] | None = None
    """What the application may do: methods with the first word of paths, such as ``"POST users"``; ``None``: all."""
    calls_per_second: int = 40
    token_seconds: float = 7200.0
    lag: float = 0.0
    """Seconds after which a listing shows what was made."""
    item_count_limit: int = 500
    domains: set[str] = field(factory=set)
    """Addresses that are ours; empty: those of the first user's domain, and of all that come."""
    renames: bool = True
    on_password: Callable[[str, str], object] = lambda _address, _password: None
    """Told of each new account with its password, such as to open its mailbox."""
    mail_folders: Callable[[str], list[Json]] = lambda _address: []
    clock: Callable[[], float] = time.monotonic

    departments: dict[str, Json] = field(factory=dict, init=False)
    users: dict[str, Json] = field(factory=dict, init=False)
    groups: dict[str, Json] = field(factory=dict, init=False)
    passwords: dict[str, str] = field(factory=dict, init=False)
    """By id of the user."""
    calls: list[str] = field(factory=list, init=False)
    """Method and path of each, those that were refused included."""
    throttled: int = field(default=0, init=False)
    strikes: dict[int, tuple[str, Strike]] = field(factory=dict, init=False)
    """By the number of the call, from 1, counting writes alone: ``before`` or ``after`` it acts, and what happens."""
    writes: int = field(default=0, init=False)
    _lock: threading.RLock = field(factory=threading.RLock, init=False)
    _tokens: dict[str, float] = field(factory=dict, init=False)
    _recent: deque[float] = field(factory=deque, init=False)
    _ids: int = field(default=0, init=False)
    _by_address: dict[str, Json] = field(factory=dict, init=False)
    """Users, their aliases, and groups."""

    def answer(self, method: str, target: str, headers: Mapping[str, str], octets: bytes) -> Json:
        """Answer a call. Raises ``Fault`` or ``Lost``."""
        parts = urlsplit(target)
        with self._lock:
            self.calls.append(f"{method} {unquote(parts.path)}")
            self._count_call()
            if parts.path == TOKEN_PATH:
                return self._new_token(method, headers, octets)
            self._let_in(headers)
            words = [unquote(word) for word in parts.path.split("/")[1:]]
            if len(words) < 2 or words[0] != "v2":
                raise Fault(404, "InvalidPath", f"no such path: {parts.path}")
            if self.permissions is not None and f"{method} {words[1]}" not in self.permissions:
                raise Fault(403, "AccessDenied", "the application has no permission for this operation")
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            body = self._body(method, headers, octets)
            self.writes += method != "GET"
            when, strike = self.strikes.get(self.writes if method != "GET" else 0, ("", lose))
            if when == "before":
                strike()
            made = self._operate(method, words[1:], query, body)
            if when == "after":
                strike()
            return made

    def revoke_tokens(self) -> None:
        """Let every token end now."""
        with self._lock:
            self._tokens.clear()

    def find_user(self, address: str) -> Json | None:
        """Return a user by the own address."""
        found = self._by_address.get(address.lower())
        return found if found is not None and found["id"] in self.users else None

    def _count_call(self) -> None:
        now = self.clock()
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) >= self.calls_per_second:
            self.throttled += 1
            raise Fault(429, "Throttling", "too many requests of the domain", {"Retry-After": "1"})
        self._recent.append(now)

    def _new_token(self, method: str, headers: Mapping[str, str], octets: bytes) -> Json:
        if method != "POST" or headers.get("Content-Type") != "application/x-www-form-urlencoded":
            raise Fault(400, "invalid_request", "a form is due")
        form = dict(parse_qsl(octets.decode(errors="replace"), keep_blank_values=True))
        if set(form) != TOKEN_FIELDS or form["grant_type"] != "client_credentials":
            raise Fault(400, "invalid_request", "the form has other fields than it must")
        if (form["client_id"], form["client_secret"]) != (self.application_id, self.application_secret):
            raise Fault(401, "invalid_client", f"client_secret {form['client_secret']} is wrong")
        token = secrets.token_urlsafe(24)
        self._tokens[token] = self.clock() + self.token_seconds
        return {"token_type": "bearer", "access_token": token, "expires_in": int(self.token_seconds)}

    def _let_in(self, headers: Mapping[str, str]) -> None:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme != "bearer" or self._tokens.get(token, 0.0) <= self.clock():
            raise Fault(401, "InvalidToken", "the token is not valid")

    def _body(self, method: str, headers: Mapping[str, str], octets: bytes) -> Json:
        if method == "GET":
            if octets:
                raise Fault(400, "InvalidParameter", "GET has no body")
            return {}
        if headers.get("Content-Type") != "application/json":
            raise Fault(415, "UnsupportedMediaType", "JSON is due")
        try:
            body = json.loads(octets)
        except ValueError:
            raise Fault(400, "InvalidParameter", "no JSON") from None
        if not isinstance(body, dict):
            raise Fault(400, "InvalidParameter", "no object")
        return body

    def _operate(self, method: str, words: list[str], query: dict[str, str], body: Json) -> Json:
        match method, words:
            case "GET", ["departments", id, "departments"]:
                there = [
                    each for each in self.departments.values() if each["parentId"] == self._department(id)
                ]
                return self._page("departments", there, query)
            case "GET", ["departments", id, "users"]:
                inside = self._department(id)
                there = [each for each in self.users.values() if inside in each["departmentIds"]]
                return self._page("users", there, query)
            case "GET", ["departments", id]:
                return self._told(self.departments.get(id, {}), query) if self._department(id) else {}
            case "POST", ["departments"]:
                return self._make_department(body)
            case "POST", ["users"]:
                return self._make_user(body)
            case "GET", ["users", name]:
                return self._told(self._user(name), query)
            case "PATCH", ["users", name]:
                return self._change_user(self._user(name), body)
            case "POST", ["users", name, "emailAliases"]:
                return self._add_alias(self._user(name), body)
            case "GET", ["users", name, "mailFolders"]:
                return {"folders": self.mail_folders(self._user(name)["email"])}
            case "GET", ["groups"]:
                return self._page("groups", list(self.groups.values()), query)
            case "POST", ["groups"]:
                return self._make_group(body)
            case "GET", ["groups", name]:
                return self._told(self._group(name), query)
            case "PATCH", ["groups", name]:
                return self._change_group(self._group(name), body)
            case "GET", ["groups", name, "members"]:
                members = [{"email": each} for each in self._group(name)["_members"]]
                return self._page("members", members, query)
            case "POST", ["groups", name, "members"]:
                return self._add_members(self._group(name), body)
        raise Fault(404, "InvalidPath", "no such operation")

    def _page(self, name: str, items: list[Json], query: dict[str, str]) -> Json:
        if not set(query) <= {"offset", "limit"}:
            raise Fault(400, "InvalidParameter", f"parameters that there are not: {sorted(query)}")
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", PAGE))
        if offset < 0 or not 1 <= limit <= PAGE:
            raise Fault(400, "InvalidParameter", f"limit is from 1 to {PAGE}")
        seen = [each for each in items if each.get("_since", 0.0) <= self.clock() - self.lag or not self.lag]
        page = [_public(each) for each in seen[offset : offset + limit]]
        return {name: page, "total": str(len(seen))}

    def _told(self, thing: Json, query: dict[str, str]) -> Json:
        if query:
            raise Fault(400, "InvalidParameter", "there are no parameters")
        return _public(thing)

    def _department(self, id: str) -> str:
        if id != ROOT and id not in self.departments:
            raise Fault(404, "DepartmentNotFound", f"no department {id}")
        return id

    def _make_department(self, body: Json) -> Json:
        _check(body, DEPARTMENT_FIELDS, ("name", "parentId"))
        parent, name = self._department(body["parentId"]), body["name"]
        for each in self.departments.values():
            if each["parentId"] == parent and each["name"].casefold() == name.casefold():
                raise Fault(409, "DepartmentExists", f"there is a department {name}")
        return self._keep(self.departments, body)

    def _make_user(self, body: Json) -> Json:
        _check(body, USER_FIELDS, ("email", "password", "name", "departmentIds"))
        self._judge_user(body)
        self._need_free(body["email"])
        password = body.pop("password")
        if not 8 <= len(password) <= 64:
            raise Fault(400, "InvalidPassword", f"{password} breaks the rules")
        body.setdefault("status", STATES[True])
        made = self._keep(self.users, body | {"emailAliases": []})
        self.passwords[made["id"]] = password
        self._by_address[body["email"].lower()] = self.users[made["id"]]
        self.on_password(body["email"], password)
        return made

    def _judge_user(self, body: Json) -> None:
        for each in body.get("departmentIds", ()):
            self._department(each)
        if "departmentIds" in body and not body["departmentIds"]:
            raise Fault(400, "InvalidParameter", "departmentIds is empty")
        if "status" in body and body["status"] not in STATES.values():
            raise Fault(400, "InvalidParameter", f"there is no status {body['status']}")
        if body.get("managerEmail") and self.find_user(body["managerEmail"]) is None:
            raise Fault(400, "ManagerNotFound", f"no user {body['managerEmail']}")

    def _need_free(self, address: str) -> None:
        if "@" not in address:
            raise Fault(400, "InvalidParameter", f"{address} is no address")
        if address.lower() in self._by_address:
            raise Fault(409, "EmailExists", f"{address} is taken")

    def _change_user(self, user: Json, body: Json) -> Json:
        _check(body, USER_CHANGES, ())
        self._judge_user(body)
        if (new := body.pop("email", user["email"])) != user["email"] and self.renames:
            self._need_free(new)
            del self._by_address[user["email"].lower()]
            self._by_address[new.lower()] = user
            self._follow(user["email"], new)
            user["email"] = new
            self.on_password(new, self.passwords[user["id"]])
        user |= body
        return _public(user)

    def _follow(self, old: str, new: str) -> None:
        for group in self.groups.values():
            for key in ("admins", "_members"):
                group[key] = [new if each.lower() == old.lower() else each for each in group[key]]
        for user in self.users.values():
            if user.get("managerEmail", "").lower() == old.lower():
                user["managerEmail"] = new

    def _add_alias(self, user: Json, body: Json) -> Json:
        _check(body, {"alias": str, "asDefault": bool}, ("alias",))
        self._need_free(body["alias"])
        user["emailAliases"].append(body["alias"])
        self._by_address[body["alias"].lower()] = user
        return _public(user)

    def _make_group(self, body: Json) -> Json:
        _check(body, GROUP_FIELDS, ("email", "name"))
        self._need_free(body["email"])
        self._judge_admins(body)
        extra = {"itemCount": 0, "itemCountLimit": str(self.item_count_limit), "_members": []}
        made = self._keep(self.groups, {"admins": [], **body, **extra})
        self._by_address[body["email"].lower()] = self.groups[made["id"]]
        return made

    def _judge_admins(self, body: Json) -> None:
        for each in body.get("admins", ()):
            if self.find_user(each) is None:
                raise Fault(400, "UserNotFound", f"no user {each}")

    def _change_group(self, group: Json, body: Json) -> Json:
        _check(body, {key: value for key, value in GROUP_FIELDS.items() if key != "email"}, ())
        self._judge_admins(body)
        group |= body
        return _public(group)

    def _add_members(self, group: Json, body: Json) -> Json:
        _check(body, {"members": list}, ("members",))
        members, known = body["members"], {each.lower() for each in group["_members"]}
        if not 1 <= len(members) <= PAGE:
            raise Fault(400, "InvalidParameter", f"from 1 to {PAGE} members")
        ours = {each.rpartition("@")[2] for each in self._by_address}
        for each in members:
            if each.lower().rpartition("@")[2] in ours and each.lower() not in self._by_address:
                raise Fault(400, "MemberNotFound", f"nobody is {each}")
            if each.lower() in known:
                raise Fault(409, "MemberExists", f"{each} is a member")
        if len(known) + len(members) > self.item_count_limit:
            raise Fault(400, "QuotaExceeded", f"a group has at most {self.item_count_limit} members")
        group["_members"] += members
        group["itemCount"] = str(len(group["_members"]))
        return {}

    def _user(self, name: str) -> Json:
        found = self.users.get(name) or self._by_address.get(name.lower())
        if found is None or found["id"] not in self.users:
            raise Fault(404, "UserNotFound", f"no user {name}")
        return found

    def _group(self, name: str) -> Json:
        found = self.groups.get(name) or self._by_address.get(name.lower())
        if found is None or found["id"] not in self.groups:
            raise Fault(404, "GroupNotFound", f"no group {name}")
        return found

    def _keep(self, home: dict[str, Json], thing: Json) -> Json:
        self._ids += 1
        id = str(10**17 + self._ids)
        home[id] = {"id": id, **thing, "_since": self.clock(), "createdTime": "2026-01-01T00:00:00Z"}
        return _public(home[id])


def _check(body: Json, fields: Mapping[str, type], required: tuple[str, ...]) -> None:
    for key, value in body.items():
        if key not in fields:
            raise Fault(400, "InvalidParameter", f"there is no field {key}")
        if type(value) is not fields[key]:
            raise Fault(400, "InvalidParameter", f"{key} has another type")
        if isinstance(value, list) and not all(isinstance(each, str) for each in value):
            raise Fault(400, "InvalidParameter", f"{key} is a list of texts")
    for key in required:
        if not body.get(key):
            raise Fault(400, "MissingParameter", f"{key} is required")


def _public(thing: Json) -> Json:
    """Return a thing as it is told: what is empty is left out."""
    return {
        key: value
        for key, value in thing.items()
        if not key.startswith("_") and value not in ("", [], 0, False)
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: ClassVar[OpenPlatformServer]

    def _serve(self) -> None:
        octets = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.owner.round_trip)
        self.owner.gate()
        status, headers = 200, dict[str, str]()
        try:
            answer = self.owner.platform.answer(self.command, self.path, dict(self.headers), octets)
        except Fault as fault:
            kinds = (
                ("error", "error_description") if self.path == TOKEN_PATH else ("detailErrorCode", "message")
            )
            answer = dict(zip(kinds, (fault.code, str(fault)), strict=True))
            status, headers = fault.status, dict(fault.headers)
        except Lost:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        told = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {
            **headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(told)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that died."""


@define
class OpenPlatformServer:
    """A platform that listens on loopback; a context manager."""

    platform: OpenPlatform = field(factory=OpenPlatform)
    round_trip: float = 0.0
    """Seconds that each answer takes."""
    gate: Callable[[], object] = lambda: None
    """Called with each call, before the service takes it up; calls wait here side by side."""
    _server: _Server = field(init=False)

    def __enter__(self) -> OpenPlatformServer:
        """Begin to listen."""
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def options(self, **wishes: Any) -> ApiOptions:
        """Return options that lead here, at no pace."""
        own, secret = (
            Secret.literal(self.platform.application_id),
            Secret.literal(self.platform.application_secret),
        )
        wishes = {"calls_per_second": 5000.0, "connections": 8, "timeout": 10.0} | wishes
        return ApiOptions(own, secret, url=self.url, **wishes)

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"


def lose() -> None:
    """Be a strike: lose the answer."""
    raise Lost


def fail(status: int = 500) -> Strike:
    """Return a strike that answers with a failure."""

    def strike() -> None:
        raise Fault(status, "InternalError", "something went wrong")

    return strike

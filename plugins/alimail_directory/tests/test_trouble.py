"""Whatever the API does, every step happens once, and what cannot be is told with its remedy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import define, field

from alimail_core import (
    Denied,
    Department,
    Directory,
    Employee,
    Group,
    LoginDenied,
    Refused,
    Secret,
    Step,
    StepDone,
    StepNotDone,
    Thing,
    Transient,
)
from alimail_core.ledger import Ledger
from alimail_core.provisioning.apply import Provisioned, provision
from alimail_core.provisioning.passwords import PasswordFile
from alimail_core.provisioning.plan import Wish
from alimail_core.testing import FakeClock
from alimail_directory.api import LIST_FOLDERS, Call
from alimail_directory.client import _Answer, listed, number, retry_after
from alimail_directory.limiter import limiter_of
from alimail_directory.provisioner import ApiProvisioner, open_provisioner
from alimail_directory.testing import Fault, OpenPlatform, OpenPlatformServer, Strike, fail, lose

WISHED: list[Thing] = [
    Employee("anna@x.example", "Anna", "1", ("Sales", "West"), manager="bob@x.example"),
    Employee("bob@x.example", "Bob", "2", ("Sales",), aliases=frozenset({"b@x.example", "bo@x.example"})),
    Employee("carl.new@x.example", number="3"),
    Group(
        "all@x.example", "All", frozenset({"bob@x.example"}), frozenset({"anna@x.example", "guest@y.example"})
    ),
]
THERE: list[Thing] = [Employee("carl@x.example", number="3"), Employee("old@x.example")]


@define
class Desk:
    """An organisation, the clock that it and we share, and a ledger."""

    server: OpenPlatformServer
    clock: FakeClock
    passwords: Path
    ledger: Ledger = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with an empty ledger."""
        self.ledger = Ledger.in_memory(clock=self.clock)

    @property
    def platform(self) -> OpenPlatform:
        """Return the service."""
        return self.server.platform

    def open(self) -> ApiProvisioner:
        """Open a session."""
        return open_provisioner(self.server.options(), self.clock)

    def run(self, *things: Thing) -> Provisioned:
        """Provision what is wished."""
        wish = Wish(Directory.of(things or WISHED))
        return provision(wish, self.open, self.ledger, PasswordFile(self.passwords), clock=self.clock)

    def there(self) -> Directory:
        """Return what is there, whatever is struck."""
        with self.open() as provisioner:
            return provisioner.read()


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[[], Desk]]:
    """Found organisations in which two people are already."""
    made: list[OpenPlatformServer] = []

    def found() -> Desk:
        clock = FakeClock()
        platform = OpenPlatform(calls_per_second=100_000, clock=clock.monotonic)
        made.append(OpenPlatformServer(platform).__enter__())
        desk = Desk(made[-1], clock, tmp_path / f"passwords{len(made)}.csv")
        with desk.open() as provisioner:
            list(provisioner.carry_out([Step(thing) for thing in THERE]))
        platform.writes = 0
        return desk

    yield found
    for server in made:
        server.__exit__()


@pytest.fixture
def desk(make_desk: Callable[[], Desk]) -> Desk:
    """Found one."""
    return make_desk()


STRIKES: dict[str, tuple[str, Strike]] = {
    "lost before": ("before", lose),
    "lost after": ("after", lose),
    "failed before": ("before", fail(500)),
    "failed after": ("after", fail(503)),
    "throttled": ("before", fail(429)),
}


@pytest.mark.slow
@pytest.mark.parametrize("strike", STRIKES)
def test_whatever_is_struck_every_step_happens_once(make_desk: Callable[[], Desk], strike: str) -> None:
    """Strike the first write, then the second, until a run ends before its turn comes."""
    undisturbed = make_desk()
    assert undisturbed.run().complete
    wanted, writes = undisturbed.there(), undisturbed.platform.writes
    assert writes >= 9
    for at in range(1, writes + 1):
        desk = make_desk()
        desk.platform.strikes = {at: STRIKES[strike]}
        ended = desk.run()
        assert ended.complete, (at, ended)
        assert desk.there() == wanted
        for user in desk.platform.users.values():
            if user["email"] in ("anna@x.example", "bob@x.example"):
                assert PasswordFile(desk.passwords).get(user["email"]) == desk.platform.passwords[user["id"]]
        assert desk.run().complete
        acted = STRIKES[strike][0] == "after"
        assert desk.platform.writes == writes + (not acted), (
            "what was done is not sent again, nor anything twice"
        )


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 10, 2))
def test_what_was_lost_and_shows_late_is_not_sent_again(desk: Desk, at: int) -> None:
    """A listing that does not have it yet decides nothing: it is looked up, and there is time."""
    desk.platform.lag = 10.0
    desk.clock.advance(60)
    desk.platform.strikes = {at: ("after", lose)}
    assert desk.run().complete
    assert [call for call in desk.platform.calls if call == "POST /v2/users"] == ["POST /v2/users"] * 4
    assert desk.platform.calls.count("POST /v2/departments") == 2
    assert desk.platform.calls.count("POST /v2/groups") == 1


def test_a_token_that_ends_is_renewed_by_one_of_all_threads(desk: Desk) -> None:
    """Every call that met the end is made again."""
    desk.platform.strikes = {3: ("before", desk.platform.revoke_tokens)}
    before = sum("token" in call for call in desk.platform.calls)
    people = [Employee(f"p{number}@x.example") for number in range(40)]
    with desk.open() as provisioner:
        outcomes = list(provisioner.carry_out(map(Step, people)))
    assert [type(each) for each in outcomes] == [StepDone] * 40
    assert sum("token" in call for call in desk.platform.calls) - before == 2


def test_a_token_that_is_never_good_is_told(desk: Desk) -> None:
    """It is renewed once, and not for ever."""
    with desk.open() as provisioner:
        desk.platform.token_seconds = 0.0
        desk.platform.revoke_tokens()
        with pytest.raises(LoginDenied, match="refuses a new token") as caught:
            provisioner.read()
    assert "application_secret" in caught.value.remedy


def test_a_wrong_secret_is_told_and_not_repeated(desk: Desk) -> None:
    """Though the server repeats it."""
    options = desk.server.options()
    wrong = type(options)(options.application_id, Secret.literal("Wr0ng-secret"), url=options.url)
    with pytest.raises(LoginDenied, match="client_secret \\*\\*\\* is wrong"):
        open_provisioner(wrong, desk.clock)


@pytest.mark.parametrize(
    ("status", "octets", "grade"),
    [
        (200, b"<html>Log in to the hotel's network</html>", Transient),
        (200, b"", Transient),
        (200, b'{"ok": true}', Transient),
        (200, b"[" * 100_000, Transient),
        (302, b"", Denied),
        (502, b"<html>", Transient),
    ],
)
def test_what_is_not_the_api_decides_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, status: int, octets: bytes, grade: type[Exception]
) -> None:
    """Least of all that somebody is not there."""
    with desk.open() as provisioner:
        answer = _Answer(status, {}, octets)
        monkeypatch.setattr(provisioner._client, "_ask", lambda *_args, **_more: answer)
        with pytest.raises(grade):
            provisioner.look(Employee("old@x.example"))


def test_nobody_there_is_passing(desk: Desk) -> None:
    """And was certainly not asked for anything."""
    options = desk.server.options()
    desk.server.__exit__()
    with pytest.raises(Transient, match="no connection"):
        open_provisioner(options, desk.clock)


def test_a_permission_that_is_missing_is_named(desk: Desk) -> None:
    """Departments are made; nobody goes on with users, and the remedy says what to allow."""
    desk.platform.permissions = {"GET departments", "POST departments", "GET users", "GET groups"}
    with pytest.raises(Denied, match="may not manage users") as caught:
        desk.run()
    assert "console" in caught.value.remedy
    assert len(desk.platform.departments) == 2
    desk.platform.permissions = None
    assert desk.run().complete


def test_too_many_calls_are_put_off(desk: Desk) -> None:
    """All threads pause, and nothing is lost or doubled."""
    desk.platform.calls_per_second = 10
    assert desk.run(*(Employee(f"p{number}@x.example") for number in range(40))).complete
    assert desk.platform.throttled
    assert len(desk.platform.users) == 42


def test_the_pace_of_the_domain_is_kept() -> None:
    """No second has more calls than the domain has, not after a rest either; a pause is everybody's."""
    clock, moments = FakeClock(), list[float]()
    limiter = limiter_of("https://here", 40.0, clock)
    assert limiter_of("https://here", 40.0, clock) is limiter
    for turn in range(200):
        if turn == 100:
            clock.advance(30.0)
        if turn == 150:
            limiter.pause(5.0)
        limiter.wait()
        moments.append(clock.monotonic())
    for begin in moments:
        assert sum(begin <= each < begin + 1.0 for each in moments) <= 40
    assert moments[99] - moments[0] < 100 / 40 * 1.05
    assert moments[150] - moments[149] >= 5.0


def test_calls_are_under_way_side_by_side(desk: Desk) -> None:
    """Four calls meet in the service before one of them is answered."""
    barrier = threading.Barrier(4, timeout=20)
    with desk.open() as provisioner:
        desk.server.gate = barrier.wait
        outcomes = list(provisioner.carry_out(Step(Employee(f"p{number}@x.example")) for number in range(8)))
    assert all(isinstance(each, StepDone) for each in outcomes)


def test_a_server_that_shows_late_is_waited_for(desk: Desk) -> None:
    """What was made shows in listings after ten seconds, and is made once."""
    desk.platform.lag = 10.0
    desk.clock.advance(60)
    assert desk.run().complete
    assert len(desk.platform.users) == 4


def test_one_step_that_is_never_answered_does_not_keep_the_rest(desk: Desk) -> None:
    """It is given up after three times, and told."""
    real = desk.platform._make_user

    def poisoned(body: dict[str, object]) -> dict[str, object]:
        if body["email"] == "anna@x.example":
            raise Fault(500, "InternalError", "oops")
        return real(body)

    desk.platform._make_user = poisoned  # type: ignore[method-assign]
    ended = desk.run()
    told = {each.name: each.message for each in ended.refused if "no answer" in each.message}
    assert set(told) == {"anna@x.example"}
    assert {each.name for each in ended.refused} == {"anna@x.example", "all@x.example"}  # whose member she is
    assert desk.platform.find_user("bob@x.example")
    assert desk.platform.calls.count("POST /v2/users") == len(THERE) + 3 + 1


def test_what_somebody_else_made_meanwhile_is_taken_and_completed(desk: Desk) -> None:
    """409, then a look: what it lacks is given to it, and its password stays."""

    def meddle() -> None:
        if desk.platform.find_user("anna@x.example") is None:
            body = {
                "email": "anna@x.example",
                "password": "Their-0wn!",
                "name": "Anna",
                "departmentIds": ["$root"],
            }
            desk.platform._make_user(body)

    desk.platform.strikes = {3: ("before", meddle)}
    assert desk.run().complete
    user = desk.platform.find_user("anna@x.example")
    assert user is not None
    assert desk.platform.passwords[user["id"]] == "Their-0wn!"


def test_an_alias_that_somebody_has_is_refused(desk: Desk) -> None:
    """The person is made all the same."""
    with desk.open() as provisioner:
        list(provisioner.carry_out([Step(Group("b@x.example"))]))
    wished = Employee("bob@x.example", "Bob", aliases=frozenset({"c@x.example"}))
    step = Step(Employee("bob@x.example", aliases=frozenset({"b@x.example"})), Employee("bob@x.example"))
    assert desk.run(wished).complete
    with desk.open() as provisioner:
        (outcome,) = provisioner.carry_out([step])
    assert isinstance(outcome, StepNotDone)
    assert isinstance(outcome.error, Refused)


def test_an_address_that_stays_as_it_was_is_told(desk: Desk) -> None:
    """Some services rename nobody, and say 200."""
    desk.platform.renames = False
    ended = desk.run()
    assert [(each.name, "left the address" in each.message) for each in ended.refused] == [
        ("carl.new@x.example", True)
    ]


def test_who_is_in_several_departments_stays_in_the_others(desk: Desk) -> None:
    """The first one changes."""
    assert desk.run().complete
    ids = {each["name"]: each["id"] for each in desk.platform.departments.values()}
    user = desk.platform.find_user("anna@x.example")
    assert user is not None
    user["departmentIds"] = [ids["West"], "$root"]
    assert desk.run(Department(("Sales",)), Employee("anna@x.example", department=("Sales",))).complete
    assert user["departmentIds"] == [ids["Sales"], "$root"]


def test_a_password_never_stands_in_a_refusal(desk: Desk) -> None:
    """Though the server repeats it."""
    with desk.open() as provisioner:
        (outcome,) = provisioner.carry_out([Step(Employee("p@x.example"), password=lambda: "Sh0rt")])
    assert isinstance(outcome, StepNotDone)
    assert "InvalidPassword" in str(outcome.error)
    assert "Sh0rt" not in str(outcome.error)


@pytest.mark.slow
def test_long_listings_are_read_page_by_page(desk: Desk) -> None:
    """All people of one department, and all members of one group."""
    people = [Employee(f"p{number:03d}@x.example", department=("Sales",)) for number in range(230)]
    group = Group("all@x.example", members=frozenset(each.address for each in people))
    assert desk.run(Department(("Sales",)), *people, group).complete
    there = desk.there()
    assert len(there.employees) == 232
    assert there.groups["all@x.example"].members == group.members


def test_a_group_that_would_be_too_large_is_told_before(desk: Desk) -> None:
    """The service tells how many members its groups may have, once there is one."""
    desk.platform.item_count_limit = 2
    assert desk.run(Group("few@x.example")).complete
    many = Group("few@x.example", members=frozenset(f"g{number}@y.example" for number in range(3)))
    ended = desk.run(many)
    assert [each.message for each in ended.left.problems] == ["would have 3 members, and takes 2"]


def test_mail_is_counted(desk: Desk) -> None:
    """Folders with their names, and what they are for."""
    desk.platform.mail_folders = lambda _address: [
        {"id": "2", "displayName": "收件箱", "totalItemCount": "7", "unreadItemCount": 1},
        {"id": "1", "displayName": "已发送", "totalItemCount": 3},
        {"id": "9000", "displayName": "Projects"},
    ]
    with desk.open() as provisioner:
        assert provisioner.traits.counts_mail
        counted = {
            each.address: each for each in provisioner.count_mail(["old@x.example", "nobody@x.example"])
        }
    told = [(each.name, each.messages, each.inbox) for each in counted["old@x.example"].folders]
    assert told == [("收件箱", 7, True), ("已发送", 3, False), ("Projects", 0, False)]
    assert "no user" in counted["nobody@x.example"].reason


def test_a_slash_in_a_department_s_name_makes_no_path(desk: Desk) -> None:
    """It is left out with what is in it, and never taken for two."""
    desk.platform._make_department({"name": "R/D", "parentId": "$root"})
    assert desk.there().departments == {}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2020 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("9" * 400, None),
        (None, None),
    ],
)
def test_how_long_to_wait_may_be_told_in_two_ways(value: str | None, seconds: float | None) -> None:
    """Seconds, or a date."""
    assert retry_after(value, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def test_numbers_may_be_texts_and_listings_may_be_called_otherwise() -> None:
    """What is neither is not guessed."""
    assert [number(each, -1) for each in (3, "12345678901234567890", True, None, "x", 1.5)] == [
        3, 12345678901234567890, -1, -1, -1, -1,
    ]  # fmt: skip
    assert listed({"value": [{"id": "1"}]}, LIST_FOLDERS) == [{"id": "1"}]
    with pytest.raises(Transient):
        listed({"folders": "none"}, LIST_FOLDERS)


def test_names_are_spelt_for_a_path() -> None:
    """Nothing in an address leads to another path."""
    assert Call("GET", "/v2/users/{}", "").at("a/../b?c@x.example") == "/v2/users/a%2F..%2Fb%3Fc@x.example"

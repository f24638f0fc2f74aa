"""What can be put right by the registry: as steps, so that each can be asked about before it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from alimail_outlook import rules
from alimail_outlook.machine.looking import Finding, Sight, naming
from alimail_outlook.rules import Unlisted


@frozen
class Step:
    """One change. ``do`` raises ``AlimailError``."""

    text: str
    do: Callable[[], None]


def steps(sight: Sight, found: list[Finding]) -> Iterator[Step]:
    """Give what can be done about the findings."""
    for finding in found:
        if finding.level not in ("fault", "warning"):
            continue
        if finding.rule.name == "load_behavior":
            yield from _loading(sight)
        elif finding.rule.name == "do_not_disable":
            yield from _keeping(sight)
        elif isinstance(finding.rule.probe, Unlisted):
            yield from _unlisting(sight, finding.rule.probe)


def _loading(sight: Sight) -> Iterator[Step]:
    has = [place for place in sight.addin.places if sight.tree.value(place, "LoadBehavior") is not None]
    for place in has or sight.addin.places[:1]:
        value = sight.tree.text(place, "LoadBehavior")
        if value != "3":
            yield Step(
                f"set LoadBehavior to 3, which is {value or 'missing'}, in {place}",
                lambda place=place: sight.windows.set_value(place, "LoadBehavior", 3),  # type: ignore[misc]
            )


def _unlisting(sight: Sight, probe: Unlisted) -> Iterator[Step]:
    for key, value in naming(sight, probe):
        yield Step(
            f"take it off {key} (value {value.name})",
            lambda key=key, name=value.name: sight.windows.delete_value(key, name),  # type: ignore[misc]
        )


def _keeping(sight: Sight) -> Iterator[Step]:
    lists = rules.expanded((rules.DO_NOT_DISABLE,))
    used = [key for key in lists if key.partition(r"\Resiliency")[0] in sight.tree]
    for key in used or lists[:1]:
        yield Step(
            f"note in {key} that it is not to be disabled",
            lambda key=key: sight.windows.set_value(key, sight.addin.progid, 1),  # type: ignore[misc]
        )

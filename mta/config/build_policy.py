"""Turn the policy's tables into the values that ``mta.policy`` takes."""

from datetime import timedelta

from mta.config.policy_sections import AMOUNTS, Hold, Limit, Sender
from mta.config.settings import Settings
from mta.policy.brake import BrakeSettings
from mta.policy.decision import Action
from mta.policy.guard import GuardSettings
from mta.policy.holds import HoldRule, Holds
from mta.policy.limits import DAY_MS, HOUR_MS, Bound, LimitRule, Limits, Measure, Per
from mta.policy.matching import AddressPattern, Who
from mta.policy.recipients import Recipients
from mta.policy.rules import Policy
from mta.policy.senders import SenderRule, Senders


def policy(settings: Settings) -> Policy:
    """Return the policy."""
    to, guard, brake = settings.recipients, settings.guard, settings.brake
    return Policy(
        senders=Senders(tuple(map(_sender, settings.sender))),
        limits=Limits(tuple(map(_limit, settings.limit)), settings.limits.ipv6_prefix),
        holds=Holds(tuple(map(_hold, settings.hold))),
        recipients=Recipients(
            allowed=tuple(map(AddressPattern.of, to.allowed)),
            forbidden=tuple(map(AddressPattern.of, to.forbidden)),
            null_mx=to.refuse_null_mx,
            missing=to.refuse_unknown_domains,
            null_mx_senders=settings.incoming.refuse_null_mx_senders,
        ),
        guard=GuardSettings(
            window_ms=_ms(guard.window),
            free=guard.free,
            longest_delay_s=guard.longest_delay.total_seconds(),
            per_address=guard.per_address,
            per_login=guard.per_login,
            ipv6_prefix=settings.limits.ipv6_prefix,
        )
        if guard.enabled
        else None,
        brake=BrakeSettings(brake.factor, brake.floor, _ms(brake.learning))
        if brake.enabled
        else None,
    )


def _who(one: Sender | Limit | Hold) -> Who:
    return Who(one.logins, one.clients, one.listeners)


def _sender(one: Sender) -> SenderRule:
    return SenderRule(
        name=one.name,
        who=_who(one),
        addresses=one.addresses,
        plus=one.plus,
        header=one.header_from,
        null_sender=one.null_sender,
        rewrite=one.rewrite or "",
    )


def _limit(one: Limit) -> LimitRule:
    bounds = tuple(
        _bound(name, amount) for name in AMOUNTS if (amount := getattr(one, name)) is not None
    )
    return LimitRule(one.name, Per(one.per), _who(one), bounds, Action(one.action))


def _bound(name: str, amount: int) -> Bound:
    measure, _, window = name.partition("_per_")
    return Bound(Measure(measure), {"": 0, "hour": HOUR_MS, "day": DAY_MS}[window], amount)


def _hold(one: Hold) -> HoldRule:
    senders = tuple(map(AddressPattern.of, one.senders))
    return HoldRule(one.name, _who(one), senders, one.recipient_domains, one.min_size)


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)

"""The forms in which makers export usage: which column means what, and how a row is read.

Seen in: OpenAI's "completions_usage_*.csv" (2025-10: numbers as `10.0`, a row without a model for each empty span, an
export without any usage has the four columns of time alone); DeepSeek's "amount-*.csv" (2026-09: one row for each kind
of number); Microsoft's "Understand cost details fields" (Azure: tokens in thousands or millions by meter, no calls).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from trueseed.errors import ConfigError
from trueseed.teachers.supplier.books import Span

SHOWN = 60  # characters of a cell that an error shows
UNITS = {"1": 1, "1K": 1_000, "1M": 1_000_000, "1 TOKENS": 1, "1K TOKENS": 1_000, "1M TOKENS": 1_000_000}

OPENAI_TIME = ("start_time", "end_time", "start_time_iso", "end_time_iso")
_OPENAI_OTHERS = """
    start_time_iso end_time_iso project_id project_name user_id user_email api_key_id api_key_name batch service_tier
    input_cached_tokens input_cache_write_tokens input_uncached_tokens input_text_tokens output_text_tokens
    input_cached_text_tokens input_audio_tokens input_cached_audio_tokens output_audio_tokens input_image_tokens
    input_cached_image_tokens output_image_tokens
"""
_AZURE_OTHERS = """
    InvoiceId PreviousInvoiceId BillingAccountId BillingAccountName BillingProfileId BillingProfileName InvoiceSectionId
    InvoiceSectionName InvoiceSection ResellerName ResellerMpnId CostCenter BillingPeriod BillingPeriodEndDate
    BillingPeriodStartDate ServicePeriodEndDate ServicePeriodStartDate ServiceFamily ProductOrderId ProductOrderName
    ConsumedService MeterId MeterCategory MeterRegion ProductId Product SubscriptionId SubscriptionGuid SubscriptionName
    PublisherType PublisherId PublisherName ResourceGroup ResourceGroupName ResourceId InstanceId InstanceName
    ResourceLocation ResourceLocationNormalized ResourceName ResourceType Location EffectivePrice UnitPrice ChargeType
    PricingCurrency PricingCurrencyCode CostInPricingCurrency CostInUSD PaygCostInBillingCurrency PaygCostInUSD
    ExchangeRate ExchangeRateDate ExchangeRatePricingToBilling IsAzureCreditEligible ServiceInfo1 ServiceInfo2
    AdditionalInfo Tags PayGPrice PayG Frequency Term ReservationId ReservationName PricingModel CostAllocationRuleName
    BenefitId BenefitName Provider AccountName AccountOwnerId AccountId OfferId OfferName PartNumber AvailabilityZone
    PlanName Department PartnerTenantId PartnerName CustomerTenantId CustomerName
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """columns: what is read, by the maker's name in lower case. others: what is known and passed over. read: a row's
    figures into the sums. says_calls, says_money: whether it does.
    """

    kind: str
    columns: Mapping[str, str]
    others: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    read: "Callable[[Row, Sums], None]"
    says_calls: bool = True
    says_money: bool = False

    def missing(self, header: list[str]) -> list[str]:
        return [name for name in self.columns if name not in header and name not in self.optional]

    def unknown(self, header: list[str]) -> list[str]:
        return [name for name in header if name not in self.columns and name not in self.others]


@dataclass(frozen=True, slots=True)
class Row:
    """One line. cells: by our name of the column. at: the file and the number of the line, from 1."""

    cells: Mapping[str, str]
    at: str

    def text(self, name: str) -> str:
        return self.cells.get(name, "").strip()

    def whole(self, name: str) -> int:
        """Raises `ConfigError` unless it is a whole number of at least 0; nothing is 0."""
        value = self.number(name)
        if value != value.to_integral_value():
            raise self.wrong(name, "is not a whole number")
        return int(value)

    def number(self, name: str) -> Decimal:
        text = self.text(name)
        if not re.fullmatch(r"-?[0-9]*\.?[0-9]+(?:[eE]-[0-9]{1,2})?|", text):
            hint = ", which has separators; export plain numbers" if re.fullmatch(r"-?[0-9.,' ]+", text) else ""
            raise self.wrong(name, f"is not a number{hint}")
        try:
            value = Decimal(text or "0")
        except InvalidOperation as err:
            raise self.wrong(name, "is not a number") from err
        if value < 0:
            raise self.wrong(name, "is less than nothing; take refunds and corrections out of the export")
        if value > 2**53:
            raise self.wrong(name, "is more than there can be")
        return value

    def wrong(self, name: str, why: str) -> ConfigError:
        return ConfigError(f"{self.at}: {shown(self.text(name))} in column {name!r} {why}")


@dataclass(slots=True)
class Sums:
    """By span and model: calls, tokens, and money in the currencies found."""

    calls: dict[tuple[Span, str], int] = field(default_factory=dict)
    tokens: dict[tuple[Span, str], int] = field(default_factory=dict)
    money: dict[tuple[Span, str], Decimal] = field(default_factory=dict)
    currencies: set[str] = field(default_factory=set)
    passed_over: int = 0

    def add(self, row: Row, span: Span, model: str, *, calls: int = 0, tokens: int = 0) -> None:
        if not model:
            if calls or tokens:
                raise ConfigError(f"{row.at} says what was used, but of no model; export it grouped by model")
            return
        if not model.isprintable():
            raise row.wrong("model", "is no name")
        self.calls[span, model] = self.calls.get((span, model), 0) + calls
        self.tokens[span, model] = self.tokens.get((span, model), 0) + tokens


def shown(text: str) -> str:
    cut = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return repr(cut)


# -- one function a form --


def _openai(row: Row, sums: Sums) -> None:
    span = _span(row, *(datetime.fromtimestamp(row.whole(name), UTC) for name in ("start_time", "end_time")))
    tokens = row.whole("input_tokens") + row.whole("output_tokens")
    sums.add(row, span, row.text("model"), calls=row.whole("num_model_requests"), tokens=tokens)


def _deepseek(row: Row, sums: Sums) -> None:
    span = _span(row, *(_moment(row, name) for name in ("start_time_iso", "end_time_iso")))
    match row.text("type"):
        case "request_count":
            sums.add(row, span, row.text("model"), calls=row.whole("amount"))
        case "input_cache_hit_tokens" | "input_cache_miss_tokens" | "output_tokens":
            sums.add(row, span, row.text("model"), tokens=row.whole("amount"))
        case _:
            raise row.wrong("type", "is no kind of number that we know")


def _azure(row: Row, sums: Sums) -> None:
    if "openai" not in f"{row.text('metersubcategory')} {row.text('productname')}".casefold():
        sums.passed_over += 1
        return
    unit = UNITS.get(row.text("unitofmeasure").upper())
    if unit is None:
        raise row.wrong("unitofmeasure", f"is not a unit of tokens ({', '.join(UNITS)}); take such lines out")
    span, model = _day(row, "date"), row.text("metername")
    sums.add(row, span, model, tokens=round(row.number("quantity") * unit))
    if model:
        sums.money[span, model] = sums.money.get((span, model), Decimal(0)) + row.number("cost")
        sums.currencies.add(row.text("currency").upper())


def _simulator(row: Row, sums: Sums) -> None:
    tokens = row.whole("input_tokens") + row.whole("output_tokens")
    sums.add(row, _day(row, "date"), row.text("model"), calls=row.whole("num_model_requests"), tokens=tokens)


def _moment(row: Row, name: str) -> datetime:
    try:
        found = datetime.fromisoformat(row.text(name))
    except ValueError as err:
        raise row.wrong(name, "is not a time such as 2026-11-21T00:00:00+00:00") from err
    if found.tzinfo is None:
        raise row.wrong(name, "has no time zone, so its day is not known; export it in UTC")
    return found.astimezone(UTC)


def _day(row: Row, name: str) -> Span:
    """A day as `2026-11-21`, or as Azure writes it, `11/21/2026`."""
    text = row.text(name)
    try:
        american = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})", text)
        day = date(int(american[3]), int(american[1]), int(american[2])) if american else date.fromisoformat(text[:10])
        if not american and text[10:] not in ("", "T00:00:00", "T00:00:00Z", " 00:00:00"):
            raise ValueError
    except ValueError as err:
        raise row.wrong(name, "is not a day such as 2026-11-21") from err
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Span(since, since + timedelta(days=1))


def _span(row: Row, since: datetime, until: datetime) -> Span:
    midnight = since.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if not since < until <= midnight:
        raise ConfigError(
            f"{row.at} is of {since:%Y-%m-%dT%H:%M:%SZ} to {until:%Y-%m-%dT%H:%M:%SZ}, not within one day of UTC; "
            f"export it by day (or finer), in UTC"
        )
    return Span(since, until)


def _named(*names: str) -> dict[str, str]:
    return {name: name for name in names}


FORMS: tuple[Form, ...] = (
    Form(
        kind="OpenAI's usage export",
        columns=_named("start_time", "end_time", "model", "num_model_requests", "input_tokens", "output_tokens"),
        others=frozenset(_OPENAI_OTHERS.split()),
        read=_openai,
    ),
    Form(
        kind="DeepSeek's usage export",
        columns=_named("start_time_iso", "end_time_iso", "model", "type", "amount"),
        others=frozenset(("user_id", "api_key_name", "api_key", "price")),
        read=_deepseek,
    ),
    Form(
        kind="Azure's cost details",
        columns={
            **_named("date", "metername", "metersubcategory", "productname", "quantity", "unitofmeasure"),
            "costinbillingcurrency": "cost",
            "cost": "cost",
            "billingcurrency": "currency",
            "billingcurrencycode": "currency",
        },
        others=frozenset(_AZURE_OTHERS.casefold().split()),
        optional=frozenset(
            ("productname", "costinbillingcurrency", "cost", "billingcurrency", "billingcurrencycode"),
        ),
        read=_azure,
        says_calls=False,
        says_money=True,
    ),
    Form(
        kind="the simulator's usage export",
        columns=_named("date", "model", "num_model_requests", "input_tokens", "output_tokens"),
        others=frozenset(("api_key_id", "dialect")),
        read=_simulator,
    ),
)
EMPTY = Form(kind="OpenAI's usage export", columns={}, others=frozenset(OPENAI_TIME), read=lambda _row, _sums: None)

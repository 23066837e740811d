"""A maker's export is understood to the unit, or refused with the line and what to do."""

from datetime import UTC, date, datetime

import pytest

from trueseed.errors import ConfigError
from trueseed.teachers.simulator.behaviour import Behaviour
from trueseed.teachers.simulator.book import Book, Line
from trueseed.teachers.supplier import exports
from trueseed.teachers.supplier.books import Span

# As the dashboard wrote it in October 2025, with other names.
OPENAI = """\
start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,\
service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens,input_text_tokens,output_text_tokens,\
input_cached_text_tokens,input_audio_tokens,input_cached_audio_tokens,output_audio_tokens,input_image_tokens,\
input_cached_image_tokens,output_image_tokens
1793491200,1793577600,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,proj_1,10.0,user-1,key_1,gpt-4o-2024-08-06,\
FALSE,default,59200.0,10646.0,5760.0,53440.0,53440.0,10646.0,5760.0,0.0,0.0,0.0,0.0,0.0,0.0
1793491200,1793577600,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,proj_1,8.0,user-1,key_2,gpt-4o-2024-08-06,\
FALSE,default,46264.0,60000.0,8192.0,38072.0,38072.0,60000.0,8192.0,0.0,0.0,0.0,0.0,0.0,0.0
1793577600,1793664000,2026-11-02T00:00:00+00:00,2026-11-03T00:00:00+00:00,,,,,,,,,,,,,,,,,,,,
"""
DEEPSEEK = """\
user_id,start_time_iso,end_time_iso,model,api_key_name,api_key,type,price,amount
u,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,deepseek-chat,main,sk-abc***,request_count,,3
u,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,deepseek-chat,main,sk-abc***,input_cache_hit_tokens,0.1,40
u,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,deepseek-chat,main,sk-abc***,input_cache_miss_tokens,1,60
u,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,deepseek-chat,main,sk-abc***,output_tokens,2,25
"""
AZURE = """\
Date,ProductName,MeterCategory,MeterSubCategory,MeterName,Quantity,UnitOfMeasure,CostInBillingCurrency,BillingCurrency
11/01/2026,Azure OpenAI,Foundry Models,Azure OpenAI,gpt 4o Inp glbl Tokens,5.783,1K,0.0145,USD
2026-11-01,Azure OpenAI,Foundry Models,Azure OpenAI,gpt 4o Outp glbl Tokens,0.002,1M,0.02,USD
11/01/2026,Virtual Machines,Virtual Machines,D series,D2s v5,24,1 Hour,9.99,USD
"""
SIMPLE = "date,model,num_model_requests,input_tokens,output_tokens\n"


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes):
        path = tmp_path / "usage.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return exports.read(path)

    return read


def totals(bill):
    return [(each.day, each.model, each.calls, each.tokens, each.micros) for each in bill.figures]


def test_openais_export_is_summed_over_keys_and_its_empty_days_are_no_model(read):
    bill = read(OPENAI)
    assert bill.kind == "OpenAI's usage export"
    assert totals(bill) == [(date(2026, 11, 1), "gpt-4o-2024-08-06", 18, 59200 + 10646 + 46264 + 60000, None)]


def test_an_export_of_openai_without_any_usage_has_the_times_alone(read):
    times = "start_time,end_time,start_time_iso,end_time_iso\n"
    assert totals(read(times + "1793491200,1793577600,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00\n")) == []


def test_deepseeks_export_has_a_line_for_each_kind_of_number(read):
    assert totals(read(DEEPSEEK)) == [(date(2026, 11, 1), "deepseek-chat", 3, 125, None)]


def test_azures_cost_details_say_tokens_by_meter_and_money_but_no_calls(read):
    bill = read(AZURE)
    assert totals(bill) == [
        (date(2026, 11, 1), "gpt 4o Inp glbl Tokens", None, 5783, 14500),
        (date(2026, 11, 1), "gpt 4o Outp glbl Tokens", None, 2000, 20000),
    ]
    assert bill.notes == ("1 lines are of other services and were passed over",)


def test_money_in_another_currency_is_not_compared(read):
    bill = read(AZURE.replace("USD", "EUR"))
    assert {each.micros for each in bill.figures} == {None}
    assert "EUR" in bill.notes[-1]


def test_the_simulators_own_export_is_read_back_to_the_unit(read):
    book = Book()
    for n, model in enumerate(("large", "small", "large")):
        book.bill(Line(1793491200 + 3600 * n, model, "key_1", "openai"), bytes([n]), 10, n)
    assert [each[1:4] for each in totals(read(book.export()))] == [("large", 2, 22), ("small", 1, 11)]
    assert Behaviour().models == ("simulated",)


def test_a_byte_order_mark_and_windows_lines_change_nothing(read):
    assert totals(read(b"\xef\xbb\xbf" + OPENAI.replace("\n", "\r\n").encode())) == totals(read(OPENAI))


def test_what_lies_outside_the_month_is_passed_over_and_said(read):
    bill = read(SIMPLE + "2026-10-31,a,1,2,3\n2026-11-01,a,4,5,6\n")
    span = Span(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert totals(bill.within(span)) == [(date(2026, 11, 1), "a", 4, 11, None)]
    assert "1 of its figures lie outside" in bill.within(span).notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,b,c\n1,2,3\n", "Its columns: 'a', 'b', 'c'"),
        ("start_time,end_time,amount_value,amount_currency,line_item\n", "what was paid, not what was used"),
        (OPENAI.replace("service_tier", "special_discount"), "nobody said what 'special_discount' means"),
        (OPENAI.replace("user_id", "model"), "'model' more than once"),
        (SIMPLE.replace(",", ";") + "2026-11-01;a;1;2;3\n", "Its columns: 'date;model;num_model_requests"),
        (SIMPLE + "2026-11-01,a,1,2\n", "line 2 has 4 cells, the first line 5"),
        (SIMPLE + '2026-11-01,a,"1,234",2,3\n', "line 2: '1,234' in column 'num_model_requests' is not a number, "),
        (SIMPLE + "2026-11-01,a,1.234.567,2,3\n", "which has separators"),
        (SIMPLE + "2026-11-01,a,-4,2,3\n", "'-4' in column 'num_model_requests' is less than nothing"),
        (SIMPLE + "2026-11-01,a,1.5,2,3\n", "is not a whole number"),
        (SIMPLE + "2026-11-01,a,=1+1,2,3\n", "'=1+1' in column 'num_model_requests' is not a number"),
        (SIMPLE + "2026-11-01,a,٣,2,3\n", "is not a number"),
        (SIMPLE + "2026-11-01,a,nan,2,3\n", "is not a number"),
        (SIMPLE + "2026-11-01,a,99999999999999999999,2,3\n", "more than there can be"),
        (SIMPLE + "2026-11-01,,1,2,3\n", "of no model"),
        (SIMPLE + "01.11.2026,a,1,2,3\n", "'01.11.2026' in column 'date' is not a day"),
        (SIMPLE + "13/40/2026,a,1,2,3\n", "is not a day"),
        (SIMPLE + "2026-11-01T07:00:00Z,a,1,2,3\n", "is not a day"),
        (SIMPLE + "2026-11-01,a,1,2,3\n2026-11-02,a,1,2,3\n2026-11-01,a,1,2,3\n", "line 4 is the same as line 2"),
        (SIMPLE + '2026-11-01,"a,1,2,3\n', "line 2"),
        (DEEPSEEK.replace("request_count", "rebate"), "'rebate' in column 'type'"),
        (DEEPSEEK.replace("+00:00", ""), "has no time zone"),
        (DEEPSEEK.replace("+00:00", "+08:00"), "not within one day of UTC"),
        (OPENAI.replace("1793577600,2026", "1794009600,2026"), "not within one day of UTC"),
        (AZURE.replace("1M", "1 Hour"), "'1 Hour' in column 'unitofmeasure' is not a unit of tokens"),
        (AZURE.replace("0.02,USD", "0.02,EUR"), "money in EUR and USD"),
        (OPENAI.encode("utf-16"), "not UTF-8"),
        (b"PK\x03\x04\xff\xfe workbook", "not UTF-8"),
        (SIMPLE + "2026-11-01,a\x00b,1,2,3\n", "line 2"),
        (SIMPLE + "2026-11-01,a\x1b[31m,1,2,3\n", r"'a\x1b[31m' in column 'model' is no name"),
    ],
)  # fmt: skip
def test_what_could_be_misunderstood_is_refused_with_the_place(read, content, says):
    with pytest.raises(ConfigError) as caught:
        read(content)
    assert says in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read"):
        exports.read(tmp_path / "nowhere.csv")

"""Lists, disagreements, the user's own contracts, and refreshing: nothing shipped is overwritten,
nothing impossible is kept."""

import csv
import datetime
import math
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import tables
from planner.cost.prices import contracts
from planner.cost.prices import refresh as price_refresh
from planner.cost.prices.listing import disagreements, price_list, refusal, source_name
from planner.cost.prices.offers import offers, providers
from planner.cost.prices.tables import OWN_COLUMNS, price_rows, user_folder
from planner.devices.lookup import resolve_device
from planner.devices.specification import all_devices
from planner.errors import (
    DataError,
    MachineError,
    MissingExtraError,
    ProfileError,
    UnknownNameError,
)

DAY = datetime.date(2026, 11, 21)


def key_of(name):
    return resolve_device(name).spec.key


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_PRICES", str(tmp_path / "own"))
    return tmp_path / "own"


def contract(tmp_path, text):
    path = tmp_path / "contract.csv"
    path.write_text(text, encoding="utf-8")
    return path


HEAD = (
    "provider,gpu,usd_per_gpu_hour,usd_per_instance_hour,gpu_count,region,spot,commitment,"
    "valid_from,valid_until,currency\n"
)


def test_every_price_has_a_status_a_date_or_a_reason():
    listed = price_list(on_date=DAY, everything=True)
    assert {one.status for one in listed} == {"offered", "superseded", "refused"}
    for one in listed:
        if one.status == "offered":
            assert (
                one.captured_date and one.age_days >= 0 and one.usd_per_gpu_hour > 0 and one.source
            )
        else:
            assert one.reason
    assert any(one.reason == "undated" for one in listed) and any(one.stale for one in listed)
    assert [one for one in listed if one.commitment == "reserved" and one.status == "offered"]


def test_at_least_ten_providers_and_twenty_gpus_are_offered():
    listed = price_list(on_date=DAY, spot=False)
    assert (
        len({one.provider.partition("-")[0] for one in listed}) >= 10
        and len({one.gpu_key for one in listed}) >= 20
    )


def test_a_list_can_be_narrowed():
    assert {one.provider for one in price_list(provider="runpod", on_date=DAY)} >= {
        "runpod",
        "runpod-secure",
    }
    assert {one.gpu_key for one in price_list(gpu_key="t4", on_date=DAY)} == {"t4"}
    assert all(one.spot for one in price_list(spot=True, on_date=DAY)) and all(
        one.region in ("any", "us-central1")
        for one in price_list(region="us-central1", on_date=DAY)
    )
    with pytest.raises(UnknownNameError, match="lambda"):
        price_list(provider="lamda")


def test_the_future_and_the_impossible_are_refused():
    row = {"unusable": "", "gpu_key": "t4", "gpu": "T4", "captured_date": "2026-01-01"}
    assert refusal(row, 1.0, DAY) == ""
    for change, price in (
        ({"captured_date": "2027-01-01"}, 1.0),
        ({"captured_date": ""}, 1.0),
        ({}, 0.0),
        ({}, -1.0),
        ({}, math.nan),
        ({"gpu_key": ""}, 1.0),
        ({"valid_until": "2026-01-02"}, 1.0),
        ({"valid_from": "2026-12-01"}, 1.0),
    ):
        assert refusal(row | change, price, DAY), (change, price)


def test_sources_that_disagree_are_found():
    found = {(one.provider, one.gpu_key): one for one in disagreements()}
    nebius = found["nebius", "h100-sxm"]
    assert (
        nebius.ratio == pytest.approx(4.5 / 2.95)
        and len(nebius.usd_per_gpu_hour) == 3
        and "undated" in nebius.dates.values()
    )
    assert (
        all(one.ratio > 1 for one in disagreements()) and source_name("a/b@c12 file (x)") == "a/b"
    )
    assert disagreements([]) == []


def test_a_source_disagrees_with_others_by_its_newest_day_only():
    row = {
        "provider": "acme",
        "gpu_key": "t4",
        "unusable": "",
        "gpu_count": "2",
        "spot_usd_per_instance_hour": "",
    }
    days = (
        ("a/b@1", "2026-01-01", "1"),
        ("a/b@2", "2026-10-01", "3"),
        ("a/b@2", "2026-10-01", "4"),
        ("c/d@1", "2026-09-01", "6"),
    )
    rows = [
        {**row, "source": source, "captured_date": day, "usd_per_instance_hour": usd}
        for source, day, usd in days
    ]
    (one,) = disagreements(rows)
    assert (
        one.usd_per_gpu_hour == {"a/b": 1.5, "c/d": 3.0}
        and one.dates["a/b"] == "2026-10-01"
        and one.ratio == 2.0
    )


def test_loosening_the_terms_never_raises_the_price():
    """Marketplaces aside, whose asks come only when they are named."""
    for spec in all_devices():
        for gpus in (1, 8):
            free = offers(spec.key, gpus=gpus, on_date=DAY)
            for name in providers():
                bound = [
                    one
                    for one in offers(spec.key, gpus=gpus, provider=name, on_date=DAY)
                    if not one.is_marketplace
                ]
                assert not bound or free[0].usd_per_hour_for(gpus) <= bound[0].usd_per_hour_for(
                    gpus
                ) * (1 + 1e-12)
                for region in {one.region for one in bound}:
                    assert offers(spec.key, gpus=gpus, provider=name, region=region, on_date=DAY)[
                        0
                    ].usd_per_hour_for(gpus) >= bound[0].usd_per_hour_for(gpus) * (1 - 1e-12)


def test_contracts_stand_beside_the_shipped_prices(own, tmp_path):
    before = {path: path.read_bytes() for path in tables.path("prices").glob("*.csv")}
    path = contract(
        tmp_path,
        HEAD
        + "Acme Cloud,h100-sxm,2.00,,,,,1y,,2099-12-31,EUR\nlambda,h100-sxm,,8.00,8,,yes,,,,\n",
    )
    rows = contracts.read_contracts(path, key_of)
    written = contracts.keep(rows)
    assert [one.name for one in written] == ["acme-cloud.csv", "lambda.csv"] and all(
        one.parent == own for one in written
    )
    acme = offers("h100-sxm", provider="acme-cloud")[0]
    rate = next(
        float(row["usd_per_unit"])
        for row in tables.rows("prices", "terms", "currencies.csv")
        if row["currency"] == "EUR"
    )
    assert (
        acme.usd_per_gpu_hour == pytest.approx(2 * rate)
        and acme.commitment == "1y"
        and not acme.is_stale
        and acme.own
    )
    assert "acme-cloud" in providers() and any(
        "holds until 2099" in text for text in acme.caveats(1)
    )
    spot = offers("h100-sxm", gpus=8, provider="lambda", spot=True)[0]
    assert spot.usd_per_hour_for(8) == pytest.approx(8.0) and spot.instances_for(9) == 2
    assert offers("h100-sxm")[0].usd_per_gpu_hour <= acme.usd_per_gpu_hour
    assert {path: path.read_bytes() for path in tables.path("prices").glob("*.csv")} == before
    contracts.keep(rows)  # the same rows again stay once
    assert sum(1 for row in price_rows() if row["provider"] == "acme-cloud") == 1
    later = acme.valid_until + datetime.timedelta(days=1)
    assert not offers("h100-sxm", provider="acme-cloud", on_date=later)


def test_a_contract_of_tomorrow_is_no_offer_of_today(own, tmp_path):
    contracts.keep(
        contracts.read_contracts(
            contract(tmp_path, HEAD + "acme,t4,0.1,,,,,,2099-01-01,,\n"), key_of
        )
    )
    assert not offers("t4", provider="acme") and [
        one.status for one in price_list(provider="acme", everything=True)
    ] == ["refused"]


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("acme,h100-sxm,0,,,,,,,,", "above zero"),
        ("acme,h100-sxm,-1,,,,,,,,", "above zero"),
        ("acme,h100-sxm,nan,,,,,,,,", "above zero"),
        ("acme,h100-sxm,,,,,,,,,", "either"),
        ("acme,h100-sxm,1,1,,,,,,,", "either"),
        ("acme,h100-sxm,cheap,,,,,,,,", "not a number"),
        ("acme,hhh,1,,,,,,,,", "unknown"),
        ("acme,h100-sxm,1,,,,,,,,DOGE", "currency"),
        ("acme,h100-sxm,1,,0,,,,,,", "gpu_count"),
        ("acme,h100-sxm,1,,,,maybe,,,,", "yes nor no"),
        ("acme,h100-sxm,1,,,,,,2027-02-30,,", "no date"),
        ("acme,h100-sxm,1,,,,,,,2020-01-01,", "ended"),
        ("acme,h100-sxm,1,,,,,,2027-02-01,2027-01-01,", "before"),
        ("../x,h100-sxm,1,,,,,,,,", "no name"),
        ("acme,h100-sxm,1,,,,,,,,,,,", "more cells"),
    ],
)
def test_what_cannot_be_a_contract_is_refused_with_its_line(own, tmp_path, line, complaint):
    with pytest.raises(DataError, match=complaint) as error:
        contracts.read_contracts(contract(tmp_path, HEAD + line + "\n"), key_of)
    assert "line 2" in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["", "gpu,usd_per_gpu_hour\n", HEAD, "provider,gpu,usd_per_gpu_hour,colour\na,t4,1,red\n"],
)
def test_a_file_that_is_no_table_is_refused(own, tmp_path, text):
    with pytest.raises(DataError, match="[Cc]olumn|no rows"):
        contracts.read_contracts(contract(tmp_path, text), key_of)


def test_a_damaged_table_of_one_s_own_is_named(own):
    own.mkdir(parents=True)
    good = dict.fromkeys(OWN_COLUMNS, "") | {
        "provider": "acme",
        "gpu_key": "t4",
        "gpu_count": "1",
        "usd_per_instance_hour": "1",
        "captured_date": "2026-01-01",
    }
    for number, change in enumerate(
        (
            {"usd_per_instance_hour": "x"},
            {"usd_per_instance_hour": "-1"},
            {"captured_date": "yesterday"},
            {"gpu_count": ""},
            {"valid_until": "1"},
        )
    ):
        with (own / "acme.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, OWN_COLUMNS)
            writer.writeheader()
            writer.writerow(good | change | {"source": str(number)})
        with pytest.raises(ProfileError, match="line 2"):
            price_rows()


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e4), st.integers(1, 16), st.sampled_from(["EUR", "GBP", "JPY", "USD", ""]))
def test_a_price_survives_import_in_every_currency(price, count, currency):
    rows = tables.rows("prices", "terms", "currencies.csv")
    rate = (
        1.0
        if currency in ("", "USD")
        else next(float(row["usd_per_unit"]) for row in rows if row["currency"] == currency)
    )
    row = contracts._row(
        {
            "provider": "a",
            "gpu": "t4",
            "usd_per_gpu_hour": repr(price),
            "gpu_count": str(count),
            "currency": currency,
        },
        key_of,
        DAY,
        "f",
    )
    assert float(row["usd_per_instance_hour"]) == pytest.approx(price * count * rate)
    assert bool(row["date_note"]) == (currency not in ("", "USD"))


# ---------------------------------------------------------------- refresh

CATALOGUE = """instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,\
disk_size,gpu_vendor,flags,cpu_arch,provider_data
p5.48xlarge,us-east-1,50.0,192,2048,8,H100,80,False,,nvidia,,x86,{}
p5.48xlarge,eu-north-1,49.0,192,2048,8,H100,80,False,,nvidia,,x86,{}
p5.48xlarge,us-east-1,20.0,192,2048,8,H100,80,True,,nvidia,,x86,{}
m5.large,us-east-1,0.1,2,8,0,,,False,,,,x86,{}
z9.weird,us-east-1,1.0,2,8,1,Z9000,12,False,,nvidia,,x86,{}
p5.free,us-east-1,0,192,2048,8,H100,80,False,,nvidia,,x86,{}
"""


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """A published catalogue of one provider, as a folder: the others are away."""
    import zipfile

    pytest.importorskip("gpuhunt")
    folder = tmp_path / "v3" / "aws"
    (folder / "20261120-1").mkdir(parents=True)
    (folder / "version").write_text("20261120-1")
    with zipfile.ZipFile(folder / "20261120-1" / "catalog.zip", "w") as archive:
        archive.writestr("aws.csv", CATALOGUE)
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", (tmp_path / "v3").as_uri())


def test_refresh_keeps_the_cheapest_region_and_leaves_out_what_it_cannot_tell(
    own, catalogue, capsys
):
    rows, unknown = price_refresh.fetch(key_of)
    assert {(row["instance_type"], row["region"], row["gpu_key"]) for row in rows} == {
        ("p5.48xlarge", "eu-north-1", "h100-sxm"),
        ("p5.48xlarge", "us-east-1", "h100-sxm"),
    }
    assert {row["spot_usd_per_instance_hour"] or row["usd_per_instance_hour"] for row in rows} == {
        "49.0",
        "20.0",
    }
    assert unknown == ["Z9000 12 GB at aws"] and all(
        row["captured_date"] == "2026-11-20" for row in rows
    )
    both, _ = price_refresh.fetch(key_of, regions=["us-east-1"])
    assert {row["region"] for row in both if row["usd_per_instance_hour"]} == {
        "us-east-1",
        "eu-north-1",
    }
    contracts.keep(rows)
    assert (
        offers("h100-sxm", gpus=8, provider="aws", region="eu-north-1", on_date=DAY)[
            0
        ].usd_per_hour_for(8)
        == 49.0
    )
    # gpuhunt logs one for each provider that is away
    assert "Traceback" not in capsys.readouterr().err


def test_refresh_offline_or_without_the_extra_is_one_line(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gpuhunt", None)
    with pytest.raises(MissingExtraError, match=r"planner\[prices\]"):
        price_refresh.fetch(key_of)

    class Away:
        def __init__(self, **kwargs):
            self.catalog = {}

        def load(self):
            raise OSError("no route to host")

    monkeypatch.setitem(sys.modules, "gpuhunt", types.SimpleNamespace(Catalog=Away))
    with pytest.raises(MachineError, match="cannot be reached"):
        price_refresh.fetch(key_of)
    assert not user_folder().exists()

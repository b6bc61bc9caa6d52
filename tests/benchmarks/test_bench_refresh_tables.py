"""A folder of raw tables taken into the shipped ones: what comes in, stays and is refused."""

import csv
import itertools
import shutil

import pytest

from benchmarks.raw_tables import read_raw
from benchmarks.refresh_tables import main, refresh
from planner import tables
from planner.errors import DataError

TABLES = (
    "prices/gpu_names.csv",
    "api_prices/training.csv",
    "carbon/carbon.csv",
    "carbon/pue.csv",
    "refresh/providers.csv",
    "refresh/cells.csv",
)
RAW_GPU = (
    "vendor,key,name_reported,memory_gb_nominal,mem_bw_gbs,fp32_tflops,tdp_w,"
    "interconnect_gbs_bidir,basis,traps,sources"
)
RAW_PRICE = (
    "provider,region,region_rule,instance_type,gpu,gpu_count,gpu_mem_gib,vcpus,ram_gib,"
    "price_usd_per_hour,price_usd_per_gpu_hour,spot_usd_per_hour,captured_date,kind,source"
)
RAW_API = (
    "provider,model,kind,unit,usd_input,usd_output,usd_train,usd_cached_input,batch_note,"
    "size_class,method,as_of,confidence,source"
)
RAW_CARBON = (
    "scope,provider,code,name,country_iso3,state,g_co2e_per_kwh,year,carbon_free_pct,basis,source"
)
PRICES = (
    "acme,global,us,toy.1 (per GPU),Toy,1,16.0,,,2.5,2.5,,2026-11-01,per-GPU index row,list@2",
    "acme (old name),us-1,us,toy.8,Toy,8,16.0,64,512,16.0,2.0,9.6,2026-11-01,list,list@2",
    "acme,us-1,us,toy.spot,Toy,4,16.0,,,,,3.0,2026-11-01,spot list,list@2",
    "acme,us-1,us,toy.old,Toy,1,16.0,,,1.0,1.0,,undated (v9),list,list@2",
    "gone,us-1,us,toy.1,Toy,1,16.0,,,1.0,1.0,,2026-11-01,list,list@2",
)
RAW = {
    "gpus.csv": (
        RAW_GPU,
        "nvidia,toy,Toy GPU,16,100,10,100,,documented,,a book",
        "nvidia,kin,Kin,8,50,5,80,,documented,,a book",
    ),
    "prices.csv": (RAW_PRICE, *PRICES),
    "api_prices.csv": (
        RAW_API,
        "toys,toy-small,inference,per 1M tokens,1,2,,,,,,2026-11-20,high,catalogue 2",
        "toys,any <=8B,training,per 1M training tokens,,,3,,,<=8B,LoRA,2026-10,high,page",
    ),
    "carbon.csv": (
        RAW_CARBON,
        "country,,TOY,Toyland,TOY,,100.0,2025,,average,atlas",
        "pue,acme,fleet,PUE,,,1.2,2026,,fleet,atlas",
    ),
}
HAND = {
    "refresh/providers.csv": ("acme,acme,", "acme (old name),acme,", "gone,,it closed"),
    "refresh/cells.csv": (
        "gpus,toy,memory_group,,hbm,no such raw column",
        "gpus,kin,fp32_tflops,5,6,measured",
    ),
    "prices/gpu_names.csv": ("Toy,16,,toy,",),
}
KIN = {
    "key": "kin",
    "vendor": "nvidia",
    "name_reported": "Kin",
    "memory_gb_nominal": "8.0",
    "memory_group": "gddr",
    "memory_bandwidth_gb_per_s": "50",
    "fp32_tflops": "6",
    "tdp_watts": "80",
    "basis": "documented",
    "sources": "a book",
    "checked_date": "2026-01-01",
}
OLD_PRICE = {
    "provider": "acme",
    "region": "us-1",
    "gpu": "Toy",
    "gpu_mem_gib": "16",
    "gpu_count": "8",
    "kind": "list",
    "source": "list@1",
    "captured_date": "2026-05-01",
}


def header(name):
    with tables.path(*name.split("/")).open(encoding="utf-8") as handle:
        return next(csv.reader(line for line in handle if not line.startswith("#")))


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def shipped(root, name, rows, like=None):
    """A toy table with the columns of a shipped one."""
    columns = header(like or name)
    write(
        root / name,
        [",".join(columns), *(",".join(row.get(c, "") for c in columns) for row in rows)],
    )


@pytest.fixture
def root(tmp_path):
    """Toy tables with the shipped columns, and the shipped rules."""
    folder = tmp_path / "profiles"
    for name in TABLES:
        write(folder / name, [",".join(header(name)), *HAND.get(name, ())])
    shutil.copy(tables.path("refresh", "rules.csv"), folder / "refresh" / "rules.csv")
    hand = {"key": "hand", "vendor": "amd", "memory_group": "gddr", "sources": "by hand"}
    shipped(folder, "gpus/gpus.csv", [KIN, hand])
    prices = [
        {
            **OLD_PRICE,
            "instance_type": "toy.8",
            "usd_per_instance_hour": "24",
            "usd_per_gpu_hour": "3",
        },
        {
            **OLD_PRICE,
            "instance_type": "toy.hand",
            "usd_per_instance_hour": "8",
            "usd_per_gpu_hour": "1",
            "unusable": "a try-out",
        },
    ]
    shipped(folder, "prices/acme.csv", prices, like="prices/aws.csv")
    api = {"kind": "inference", "unit": "per 1M tokens", "provider": "toys", "usd_input": "9"}
    models = (("toy-small", "catalogue 1"), ("toy-gone", "catalogue 1"), ("toy-other", "a page"))
    shipped(
        folder,
        "api_prices/inference.csv",
        [{**api, "model": model, "source": source} for model, source in models],
    )
    return folder


@pytest.fixture
def raw(tmp_path):
    for name, lines in RAW.items():
        write(tmp_path / "raw" / name, lines)
    return tmp_path / "raw"


def changes(found):
    return {one.table: one for one in found}


def test_gpus_come_in_and_what_a_hand_settled_stays(root, raw):
    found = changes(refresh(raw, root))["gpus/gpus.csv"]
    rows = {row["key"]: row for row in table(root / "gpus/gpus.csv")}
    assert (
        list(rows) == ["toy", "kin", "hand"] and found.added == ["toy"] and found.kept == ["hand"]
    )
    assert rows["toy"]["memory_group"] == "hbm" and rows["toy"]["tdp_watts"] == "100"
    assert rows["toy"]["checked_date"] == "2026-11-20"  # the newest day of the folder
    assert rows["kin"]["fp32_tflops"] == "6" and rows["kin"]["checked_date"] == "2026-01-01"
    assert rows["kin"]["memory_gb_nominal"] == "8.0" and not found.changed and not found.notes


def test_a_raw_cell_that_moves_away_from_under_a_hand_settled_one_is_told(root, raw):
    text = (raw / "gpus.csv").read_text().replace("Kin,8,50,5,80", "Kin,8,50,5.5,90")
    (raw / "gpus.csv").write_text(text)
    found = changes(refresh(raw, root, "2026-11-28"))["gpus/gpus.csv"]
    kin = next(row for row in table(root / "gpus/gpus.csv") if row["key"] == "kin")
    assert kin["fp32_tflops"] == "6" and "look again" in found.notes[0] and "5.5" in found.notes[0]
    assert (
        kin["tdp_watts"] == "90"
        and kin["checked_date"] == "2026-11-28"
        and "90" in found.changed[0]
    )


def test_a_new_gpu_of_unknown_memory_is_refused_with_the_reason(root, raw):
    write(root / "refresh/cells.csv", [",".join(header("refresh/cells.csv"))])
    found = changes(refresh(raw, root))["gpus/gpus.csv"]
    assert found.unplaced == ["toy: refresh/cells.csv does not say its memory_group"]
    assert [row["key"] for row in table(root / "gpus/gpus.csv")] == ["kin", "hand"]


def test_captures_are_added_and_older_ones_stay(root, raw):
    found = changes(refresh(raw, root))
    rows = {
        (row["instance_type"], row["captured_date"]): row for row in table(root / "prices/acme.csv")
    }
    assert list(rows) == sorted(rows) and len(rows) == 6
    assert rows["toy.8", "2026-05-01"]["usd_per_instance_hour"] == "24"
    assert rows["toy.8", "2026-11-01"]["usd_per_instance_hour"] == "16.0"
    assert rows["toy.hand", "2026-05-01"]["unusable"] == "a try-out"
    assert (
        rows["toy.old", ""]["unusable"] == "undated"
        and rows["toy.old", ""]["date_note"] == "undated (v9)"
    )
    spot = rows["toy.spot", "2026-11-01"]
    assert (
        spot["usd_per_instance_hour"] == spot["usd_per_gpu_hour"] == ""
        and spot["spot_usd_per_instance_hour"] == "3.0"
    )
    index = rows["toy.1", "2026-11-01"]
    assert (index["region"], index["gpu_mem_gib"]) == (
        "any",
        "16",
    ) and "size of the instance" in index["date_note"]
    one = found["prices/acme.csv"]
    assert (len(one.added), len(one.changed), len(one.older), len(one.kept)) == (4, 0, 1, 1)
    assert "left out, it closed" in found["prices/*.csv"].notes[0]


@pytest.mark.parametrize(
    "line, reason",
    [
        (PRICES[1].replace("acme (old name)", "nobody"), "unknown provider"),
        (PRICES[1].replace("Toy", "Unheard"), "unknown GPU name"),
        (PRICES[1].replace("16.0,2.0,9.6", ",,"), "no price, neither on demand nor spot"),
        (PRICES[1].replace("16.0,2.0,9.6", "0,0,"), "not above zero"),
        (PRICES[1].replace("16.0,2.0,9.6", "cheap,cheap,"), "could not convert"),
        (PRICES[1].replace("Toy,8", "Toy,"), "no GPU count"),
        (PRICES[1].replace("16.0,2.0", "17.0,2.1"), "a second row of 2026-11-01"),
    ],
)
def test_a_price_that_cannot_be_placed_is_named_with_the_reason(root, raw, line, reason, capsys):
    write(raw / "prices.csv", [RAW_PRICE, *PRICES, line])
    assert main([str(raw), "--profiles", str(root)]) == 1
    told = [text for text in capsys.readouterr().out.splitlines() if "NOT PLACED" in text]
    assert len(told) == 1 and reason in told[0] and "toy.8" in told[0]
    assert len(table(root / "prices/acme.csv")) == 6  # the others came in


def test_no_raw_price_is_lost_silently(root, raw):
    """Whatever rows come: each is in a table or named."""
    lines = [*PRICES, PRICES[1].replace("Toy", "Unheard"), PRICES[0].replace("acme", "nobody")]
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(lines, n) for n in (1, 3, 6, 7)
    ):
        write(raw / "prices.csv", [RAW_PRICE, *chosen])
        shipped(root, "prices/acme.csv", [], like="prices/aws.csv")
        found = changes(refresh(raw, root))
        placed = len(table(root / "prices/acme.csv"))
        named = sum(
            len(one.unplaced) + len(one.notes)
            for name, one in found.items()
            if name.startswith("prices/")
        )
        assert placed + named == len(chosen)


def test_a_token_price_that_its_source_drops_is_removed_by_name_and_others_stay(root, raw):
    found = changes(refresh(raw, root))
    rows = {row["model"]: row for row in table(root / "api_prices/inference.csv")}
    assert set(rows) == {"toy-small", "toy-other"} and rows["toy-small"]["usd_input"] == "1"
    one = found["api_prices/inference.csv"]
    assert (
        "toy-gone" in one.removed[0]
        and "toy-other" in one.kept[0]
        and "'9' → '1'" in one.changed[0]
    )
    assert table(root / "api_prices/training.csv")[0]["captured_date"] == "2026-10-01"


def test_a_kind_of_token_price_that_nobody_knows_is_refused(root, raw):
    text = (raw / "api_prices.csv").read_text().replace("toy-small,inference", "toy-small,poetry")
    (raw / "api_prices.csv").write_text(text)
    assert any(
        "unknown kind 'poetry'" in one for changed in refresh(raw, root) for one in changed.unplaced
    )


def test_overheads_of_fleets_go_beside_the_grid(root, raw):
    refresh(raw, root)
    assert [row["code"] for row in table(root / "carbon/carbon.csv")] == ["TOY"]
    assert [(row["provider"], row["pue"]) for row in table(root / "carbon/pue.csv")] == [
        ("acme", "1.2")
    ]


def test_a_second_run_changes_nothing(root, raw, capsys):
    assert main([str(raw), "--profiles", str(root)]) == 0
    first = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.csv")}
    capsys.readouterr()
    assert main([str(raw), "--profiles", str(root)]) == 0
    assert first == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.csv")
    }
    for line in capsys.readouterr().out.splitlines():
        assert line.startswith("  ") or "0 added, 0 changed, 0 removed" in line


def test_a_folder_that_is_none_and_a_column_that_is_missing_take_one_line(
    root, raw, tmp_path, capsys
):
    assert main([str(tmp_path / "nowhere"), "--profiles", str(root)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    write(raw / "prices.csv", [RAW_PRICE.replace("captured_date", "day"), *PRICES])
    with pytest.raises(DataError, match="captured_date"):
        refresh(raw, root)
    write(raw / "prices.csv", [RAW_PRICE, "acme,global"])
    with pytest.raises(DataError, match="row 2"):
        read_raw(raw / "prices.csv", ("provider",))

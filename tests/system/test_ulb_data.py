"""The cleaning of the ULB readings and the two oracles, before anything of Sluice sees them."""
import pytest

import ulb


@pytest.fixture(scope="module")
def readings():
    if ulb.archive() is None:
        pytest.skip("ulb-wsn.tar.zst is absent (SLUICE_DATA or ../shared/data)")
    return ulb.load()


def test_36816_rows_are_36812_distinct_readings(readings):
    rows, left_out = readings
    assert not left_out
    assert len(rows) == ulb.ROWS
    assert len({r.key for r in rows}) == ulb.DISTINCT
    # Only whole copies share mote and millisecond: no reading is lost by calling them one.
    assert len(set(rows)) == ulb.DISTINCT
    assert len({r.device_id for r in rows}) == ulb.MOTES


def test_dirt_is_cleaned_and_a_truncated_row_is_left_out():
    rows, left_out = ulb.clean(["1163497985546 20 1\xa0000 21,21 2,68 52,11 22 41 42", "", "1163497985781 10 1\xa0000 19,97 2,",
                                "1163438041468 10 1 20,07 3 51,46 22,3 2 2"])
    assert len(left_out) == 1
    assert [r.timestamp_ns for r in rows] == [1163438041468000000, 1163497985546000000]
    assert ulb.json_line(rows[1]) == (
        '{"timestamp_ns":"1163497985546000000","device_id":"mote-20","metrics":{"humidity":52.11,'
        '"internal_temperature":21.21,"par":41,"temperature":22,"tsr":42,"voltage":2.68}}')


def test_both_oracles_agree(readings, tmp_path):
    ulb.write(readings[0], tmp_path / "ulb.jsonl", tmp_path / "registry.csv")
    by_python = ulb.windows_by_python(tmp_path / "ulb.jsonl")
    by_duckdb = ulb.windows_by_duckdb(tmp_path / "ulb.jsonl", tmp_path / "registry.csv")
    assert by_python == by_duckdb
    assert sum(w.count for w in by_python.values()) == ulb.DISTINCT * len(ulb.METRICS)

"""The ULB readings through the whole house: fleet, wire, XDP program, gateway, region, aggregator.

As root on a kernel that takes the XDP program, the fleet sends over a veth of the tests' own (wire.py); otherwise over UDP
on the loopback, and what the kernel would have done is skipped, saying so.
"""
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

import daemons
import ulb
from daemons import latest, sluice, tap, telemetry, wait_for
from wire import Wire, why_no_wire

FOLD_S = 120
# Readings may be this far out of order, and the fleet keeps what is unacknowledged within it.
LATENESS, SPREAD_S = "1min", 50


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The files, and what must come out of them."""
    if ulb.archive() is None:
        pytest.skip("ulb-wsn.tar.zst is absent (SLUICE_DATA or ../shared/data)")
    folder = tmp_path_factory.mktemp("ulb")
    readings, _ = ulb.load()
    jsonl, registry = folder / "ulb.jsonl", folder / "registry.csv"
    ulb.write(readings, jsonl, registry)
    return {"readings": readings, "jsonl": jsonl, "registry": registry,
            "windows": ulb.windows_by_duckdb(jsonl, registry)}


@pytest.fixture
def wire():
    """None where there can be none."""
    if why_no_wire():
        yield None
        return
    with Wire() as w:
        yield w


@pytest.fixture
def house(place, data, wire):
    """One region and the aggregator, running on streams that were made for them."""
    missing = daemons.absent("sluice", "sluice-gateway", "sluice-regional", "sluice-aggregator")
    if missing:
        pytest.skip(f"not built: {', '.join(missing)}")
    place.wire = wire
    place.region = daemons.Region(place, "north", data["registry"], regional={"allowed_lateness": LATENESS},
                                  more=wire.settings if wire else {})
    place.aggregator = daemons.aggregator(place, [place.region])
    everyone = place.region.gateway, place.region.regional, place.aggregator
    place.init_streams(*everyone)
    place.start(*everyone)
    return place


def at_the_fleets_end(house, *words):
    return house.wire.command(*words) if house.wire else [str(w) for w in words]


def coap_url(house):
    return house.wire.url if house.wire else house.region.coap


def fleet(house, data, report):
    let_pass = ["--let-pass", house.wire.far] if house.wire else []
    return at_the_fleets_end(house, daemons.BIN / "sluice", "simulate", "--from", data["jsonl"], "--spread", SPREAD_S, "--to", coap_url(house),
                             "--json", report, "--quiet", *let_pass)


def acked(report):
    try:
        return json.loads(report.read_text())["acked"]
    except ValueError:
        return 0  # it is being rewritten


def send(house, data, name):
    report = house.folder / f"{name}.json"
    with subprocess.Popen(fleet(house, data, report), stderr=subprocess.PIPE, text=True) as sending:
        def ended():
            house.region.gateway.assert_alive()
            return sending.poll() is not None
        try:
            wait_for("the fleet's end", ended, 150, step_s=0.2)
        finally:
            sending.kill()
    assert sending.returncode == 0, sending.stderr
    return json.loads(report.read_text())


def readings_of(house):
    """(device_id, timestamp_ns) of region.log, each as often as it stands there."""
    return [(r["device_id"], int(r["timestamp_ns"])) for r in tap(house.region.log_url) if "device_id" in r]


def difference(house, data):
    """What is wrong in global.windows; empty when every window is the oracle's, exactly."""
    found, wrong = latest(tap(house.aggregator.windows_url)), []
    for key in sorted(found.keys() - data["windows"].keys()):
        wrong.append(f"{key} is in nobody's data")
    for key, want in data["windows"].items():
        got = found.get(key)
        if got is None:
            wrong.append(f"{key} is missing")
        elif (int(got["count"]), ulb.decimal.Decimal(got["sum"]), ulb.decimal.Decimal(str(got["min"])),
              ulb.decimal.Decimal(str(got["max"])), int(got["devices"])) != (want.count, want.sum, want.min, want.max, want.devices):
            wrong.append(f"{key}: {got} instead of {want}")
    return wrong


def wait_for_windows(house, data):
    wrong = []

    def equal():
        wrong[:] = difference(house, data)
        return not wrong
    try:
        wait_for("windows equal to the oracle", equal, FOLD_S, step_s=2)
    except AssertionError as e:
        raise AssertionError(f"{e}: {len(wrong)} differ, among them\n" + "\n".join(wrong[:5])) from None


def test_every_reading_reaches_its_window_once(house, data):
    report = send(house, data, "first")
    assert report["readings"] == report["acked"] == ulb.ROWS
    assert report["given_up"] == 0
    wait_for("all readings in region.log", lambda: len(readings_of(house)) >= ulb.DISTINCT, FOLD_S, step_s=2)
    wait_for_windows(house, data)
    assert sorted(readings_of(house)) == sorted({r.key for r in data["readings"]})

    # All of it a second time changes nothing: neither the log nor a window.
    before = latest(tap(house.aggregator.windows_url))
    report = send(house, data, "second")
    assert report["acked"] == ulb.ROWS
    assert len(readings_of(house)) == ulb.DISTINCT
    assert not difference(house, data)
    after = latest(tap(house.aggregator.windows_url))
    assert {k: w["count"] for k, w in after.items()} == {k: w["count"] for k, w in before.items()}
    if not house.wire:
        pytest.skip(f"duplicates answered in the kernel: {why_no_wire()}; all else in this test holds")
    in_kernel = house.region.gateway.stats()["kernel_verdicts_total"]["answered_durable"]
    assert in_kernel > ulb.ROWS * 0.9


@pytest.mark.parametrize("which", ["gateway", "regional", "aggregator"])
def test_a_clean_restart_in_the_middle_changes_nothing(house, data, which):
    d = house.aggregator if which == "aggregator" else getattr(house.region, which)
    report = house.folder / "report.json"
    with subprocess.Popen(fleet(house, data, report)) as sending:
        wait_for("a quarter acknowledged", lambda: report.exists() and acked(report) > ulb.ROWS // 4, 60)
        assert sending.poll() is None
        d.restart()
        assert sending.wait(300) == 0
    assert acked(report) == ulb.ROWS
    wait_for_windows(house, data)
    assert sorted(readings_of(house)) == sorted({r.key for r in data["readings"]})


def wait_for_sample(house, sample):
    expected = {r.key for r in sample}
    wait_for("the sample in region.log", lambda: set(readings_of(house)) == expected, FOLD_S, step_s=1)


def wire_form(reading):
    return telemetry(reading.device_id, reading.timestamp_ns, {n: float(v) for n, v in reading.metrics})


def test_aiocoap_s_client_gets_its_receipts(house, data):
    """60 readings as CON, each answered 2.04 with the second word of its tag."""
    sample = data["readings"][:60]
    forms = [wire_form(r) for r in sample]
    lines = "".join(f"{payload.hex()} {receipt.hex()}\n" for payload, receipt in forms)
    script = pathlib.Path(__file__).with_name("aiocoap_post.py")
    subprocess.run(at_the_fleets_end(house, sys.executable, script, f"{coap_url(house)}/t"), input=lines, text=True, check=True, timeout=120)
    wait_for_sample(house, sample)


def test_libcoap_s_client_gets_its_receipts(house, data):
    client = next(filter(None, map(shutil.which, ("coap-client-notls", "coap-client", "coap-client-openssl", "coap-client-gnutls"))), None)
    if client is None:
        pytest.skip("libcoap's coap-client is not installed (libcoap3-bin)")
    sample = data["readings"][100:105]
    for r in sample:
        payload, receipt = wire_form(r)
        (house.folder / "payload").write_bytes(payload)
        done = subprocess.run(at_the_fleets_end(house, client, "-m", "post", "-t", 65001, "-f", house.folder / "payload",
                                                f"{coap_url(house)}/t"), capture_output=True, timeout=30)
        assert receipt in done.stdout, done
    wait_for_sample(house, sample)

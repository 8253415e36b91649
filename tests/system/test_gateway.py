"""A gateway on its own: what it acknowledged is in edge.telemetry, whatever becomes of the process."""
import time

import pytest

from lone_gateway import Gateway, figures, simulate


def identities(readings):
    return {(r["device_id"], r["timestamp_ns"], r["integrity_hash"]) for r in readings}


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_three_times_under_load_it_loses_nothing_that_it_acknowledged(tmp_path):
    gateway = Gateway(tmp_path)
    fleet = simulate(gateway, tmp_path, "--devices", 500, "--rate", 2000, "--seconds", 6)
    for kill in range(1, 4):
        wait_for(lambda: (tmp_path / "fleet.json").exists() and figures(tmp_path)["acked"] > 1500 * kill)
        gateway.kill()
        gateway.start()
    assert fleet.wait(120) == 0, fleet.stderr.read()
    f = figures(tmp_path)
    assert f["acked"] == f["readings"] > 6000
    gateway.stop()
    assert len(identities(gateway.tap())) == f["readings"]


def test_a_stop_publishes_what_is_in_the_spool(tmp_path):
    gateway = Gateway(tmp_path)
    fleet = simulate(gateway, tmp_path, "--devices", 100, "--rate", 3000, "--seconds", 1)
    assert fleet.wait(60) == 0
    gateway.stop()
    readings = gateway.tap()
    assert len(readings) == len(identities(readings)) == figures(tmp_path)["acked"]


def test_repetitions_are_answered_and_stored_once(tmp_path):
    gateway = Gateway(tmp_path)
    fleet = simulate(gateway, tmp_path, "--devices", 100, "--rate", 1000, "--seconds", 2, "--repeat", 0.5)
    assert fleet.wait(60) == 0
    f = figures(tmp_path)
    assert f["repeated"] > 500
    gateway.stop()
    assert len(gateway.tap()) == f["readings"]


KEYED = "auth: {{mode: keyed, master_file: {0}/master}}"


@pytest.fixture
def keyed(tmp_path):
    (tmp_path / "master").write_text("00112233445566778899aabbccddeeff\n")
    (tmp_path / "master").chmod(0o600)
    gateway = Gateway(tmp_path, KEYED.format(tmp_path))
    yield gateway
    gateway.stop()


def test_a_fleet_with_the_regions_key_is_acknowledged(keyed, tmp_path):
    fleet = simulate(keyed, tmp_path, "--devices", 50, "--rate", 500, "--seconds", 1, "--region", "eu", "--key", tmp_path / "master")
    assert fleet.wait(60) == 0
    f = figures(tmp_path)
    assert f["acked"] == f["readings"] > 300 and f["bad_receipts"] == 0


def test_a_fleet_with_another_key_is_refused(keyed, tmp_path):
    (tmp_path / "other").write_text("ff112233445566778899aabbccddeeff\n")
    (tmp_path / "other").chmod(0o600)
    fleet = simulate(keyed, tmp_path, "--devices", 5, "--rate", 50, "--seconds", 1, "--key", tmp_path / "other")
    assert fleet.wait(60) == 1
    f = figures(tmp_path)
    assert f["acked"] == 0 and f["refused"] == {"4.01": f["readings"]}

"""A gateway on its own: what it acknowledged is in edge.telemetry, whatever becomes of the process."""
import pytest

from daemons import wait_for
from lone_gateway import Gateway


def identities(readings):
    return {(r["device_id"], r["timestamp_ns"], r["integrity_hash"]) for r in readings}


def test_killed_three_times_under_load_it_loses_nothing_that_it_acknowledged(tmp_path):
    gateway = Gateway(tmp_path)
    fleet = gateway.fleet("--devices", 500, "--rate", 2000, "--seconds", 6)
    for kill in range(1, 4):
        wait_for("acknowledgements", lambda: gateway.figures()["acked"] > 1500 * kill, 60)
        gateway.kill()
        gateway.start().wait_ready()
    assert fleet.wait(120) == 0, fleet.stderr.read()
    f = gateway.figures()
    assert f["acked"] == f["readings"] > 6000
    gateway.stop()
    assert len(identities(gateway.readings())) == f["readings"]


def test_a_stop_publishes_what_is_in_the_spool(tmp_path):
    gateway = Gateway(tmp_path)
    assert gateway.fleet("--devices", 100, "--rate", 3000, "--seconds", 1).wait(60) == 0
    gateway.stop()
    readings = gateway.readings()
    assert len(readings) == len(identities(readings)) == gateway.figures()["acked"]


def test_repetitions_are_answered_and_stored_once(tmp_path):
    gateway = Gateway(tmp_path)
    assert gateway.fleet("--devices", 100, "--rate", 1000, "--seconds", 2, "--repeat", 0.5).wait(60) == 0
    f = gateway.figures()
    assert f["repeated"] > 500
    gateway.stop()
    assert len(gateway.readings()) == f["readings"]


def key_file(folder, name, digits):
    path = folder / name
    path.write_text(digits + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def keyed(tmp_path):
    master = key_file(tmp_path, "master", "00112233445566778899aabbccddeeff")
    gateway = Gateway(tmp_path, {"auth": {"mode": "keyed", "master_file": str(master)}})
    yield gateway
    gateway.stop()


def test_a_fleet_with_the_regions_key_is_acknowledged(keyed, tmp_path):
    fleet = keyed.fleet("--devices", 50, "--rate", 500, "--seconds", 1, "--region", "eu", "--key", tmp_path / "master")
    assert fleet.wait(60) == 0
    f = keyed.figures()
    assert f["acked"] == f["readings"] > 300 and f["bad_receipts"] == 0


def test_a_fleet_with_another_key_is_refused(keyed, tmp_path):
    other = key_file(tmp_path, "other", "ff112233445566778899aabbccddeeff")
    assert keyed.fleet("--devices", 5, "--rate", 50, "--seconds", 1, "--key", other).wait(60) == 1
    f = keyed.figures()
    assert f["acked"] == 0 and f["refused"] == {"4.01": f["readings"]}

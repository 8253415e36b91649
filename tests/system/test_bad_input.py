"""What a stranger or a broken device sends gets its verdict, its counter and, where CoAP says so, its code."""
import struct
import subprocess

import pytest

import coap
from coap import ACK, NON, RST, Client, message, telemetry
from daemons import BIN, wait_for
from lone_gateway import Gateway

SILENCE_S = 0.3  # how long to wait for an answer that must not come


@pytest.fixture
def gateway(tmp_path):
    g = Gateway(tmp_path)
    yield g
    stats = g.stats()
    assert stats["received_total"] == sum(stats["verdicts_total"].values()), "the ledger has no residual"
    g.stop()


GOOD, GOOD_WORD2 = telemetry()
WRONG_HASH, _ = telemetry(hash_offset=1)
OTHER_ORDER = GOOD[9:18] + GOOD[:9] + GOOD[18:]
SHAPES = [
    # name, datagram, code of the answer (None: none), verdict
    ("a reading", message(GOOD), "2.04", "forwarded"),
    ("another field order", message(OTHER_ORDER), "2.04", "forwarded"),
    ("a wrong hash", message(WRONG_HASH), "4.01", "answered_auth"),
    ("a wrong hash in a NON", message(WRONG_HASH, kind=NON), None, "auth"),
    ("version 2", message(GOOD, version=2), None, "malformed"),
    ("three bytes", b"\x42\x02\x00", None, "malformed"),
    ("a token of nine", bytes([0x49, 2, 0, 1]) + b"123456789" + b"\xff" + GOOD, None, "malformed"),
    ("a payload marker without payload", message(b"") + b"\xff", None, "malformed"),
    ("an acknowledgement", message(GOOD, kind=ACK), None, "malformed"),
    ("GET", message(b"", code=0x01, opts=(coap.PATH_T,)), "4.05", "answered_bad"),
    ("another path", message(GOOD, opts=((11, b"x"), coap.FORMAT)), "4.04", "answered_bad"),
    ("no path", message(GOOD, opts=(coap.FORMAT,)), "4.04", "answered_bad"),
    ("an unknown critical option", message(GOOD, opts=(coap.PATH_T, coap.FORMAT, (65, b"?"))), "4.02", "answered_bad"),
    ("an unknown elective option", message(GOOD, opts=(coap.PATH_T, coap.FORMAT, (64, b"?"))), "2.04", "forwarded"),
    ("another format", message(GOOD, opts=(coap.PATH_T, (12, b"\x32"))), "4.15", "answered_bad"),
    ("an empty payload", message(b""), "4.00", "answered_bad"),
    ("no Telemetry", message(b"hello"), "4.00", "answered_bad"),
    ("no device", message(b"\x09" + bytes(8) + b"\x11" + bytes(8)), "4.00", "answered_bad"),
    ("field 1 twice", message(GOOD[:9] + GOOD), "4.00", "answered_bad"),
    ("another region", message(telemetry(region="us")[0]), "4.00", "answered_bad"),
    ("our region", message(telemetry(region="eu")[0]), "2.04", "forwarded"),
    ("too long", message(telemetry(metrics=[(f"m{i:03}", 0.5) for i in range(64)] + [("x" * 60, 1.0)])[0] + b"\x00" * 400), "4.13", "answered_bad"),
]


@pytest.mark.parametrize("name,datagram,code,verdict", SHAPES, ids=[s[0] for s in SHAPES])
def test_each_shape_gets_its_verdict_and_its_code(gateway, name, datagram, code, verdict):
    before = gateway.verdicts()[verdict]
    answer = Client(gateway.coap_port).ask(datagram, 5 if code else SILENCE_S)
    assert (answer and answer[1]) == code
    assert gateway.verdicts()[verdict] == before + 1


def test_an_acknowledgement_carries_mid_token_and_receipt(gateway):
    kind, code, mid, token, payload, _ = Client(gateway.coap_port).ask(message(GOOD, mid=0xBEEF, token=b"12345678"))
    assert (kind, code, mid, token) == (ACK, "2.04", 0xBEEF, b"12345678")
    assert payload == struct.pack("<Q", GOOD_WORD2)


def test_a_ping_gets_a_reset(gateway):
    kind, code, mid, token, _, _ = Client(gateway.coap_port).ask(b"\x40\x00\x12\x34")
    assert (kind, code, mid, token) == (RST, "0.00", 0x1234, b"")


def test_truncation_at_every_byte_is_never_taken_for_a_reading(gateway):
    datagram = message(GOOD)
    client = Client(gateway.coap_port)
    for length in range(1, len(datagram)):
        client.socket.send(datagram[:length])
    answer = client.ask(message(telemetry(device="after")[0], token=b"end"), 5)
    while answer[3] != b"end":  # the answers to the cut ones come first
        assert answer[1] in ("4.00", "4.01", "4.04")
        answer = client.receive(5)
    assert answer[1] == "2.04"
    verdicts = gateway.verdicts()
    assert verdicts["forwarded"] == 1
    assert sum(verdicts.values()) == len(datagram)


def test_a_forbidden_prefix_is_dropped(tmp_path):
    g = Gateway(tmp_path, {"limit": {"deny": ["127.0.0.0/8"]}})
    assert Client(g.coap_port).ask(message(GOOD), SILENCE_S) is None
    assert g.verdicts()["denied"] == 1
    g.stop()


def test_over_the_rate_gets_4_29_with_max_age(tmp_path):
    g = Gateway(tmp_path, {"limit": {"rate": 1, "burst": 3}})
    client = Client(g.coap_port)
    codes = [client.ask(message(telemetry(device=f"d{i}")[0], mid=i))[1] for i in range(5)]
    assert codes == ["2.04"] * 3 + ["4.29"] * 2
    client.socket.send(message(GOOD, kind=NON))
    wait_for("the NON's verdict", lambda: g.verdicts()["rate"] == 1, 5)
    assert g.verdicts()["answered_rate"] == 2
    g.stop()


@pytest.mark.parametrize("wrong,names", [
    ("spool: {dir: 7, size: 5parsecs}", "size"),
    ("gatewya: {port: 1}", "gateway"),
    ("xdp: {durable_buckets: 1000000}", "durable_buckets"),
    ("auth: {mode: keyed}", "auth.master_file"),
])
def test_a_wrong_configuration_is_refused_before_anything_is_touched(tmp_path, wrong, names):
    config = tmp_path / "gateway.yaml"
    config.write_text(f"""
node: {{id: gw, region: eu}}
streams: {{edge_telemetry: "embedded:{tmp_path}/edge.telemetry"}}
{wrong}
""" + ("" if wrong.startswith("spool") else f'spool: {{dir: "{tmp_path}/spool"}}\n'))
    done = subprocess.run([BIN / "sluice-gateway", "--config", config], stderr=subprocess.PIPE, text=True, timeout=10)
    assert done.returncode == 1
    assert "gateway.yaml" in done.stderr or names in done.stderr
    assert names in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gateway.yaml"]

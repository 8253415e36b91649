#!/usr/bin/env python3
"""Freezes the schemas of this folder as a released version (README.md says when).

    build/venv/bin/python proto/release.py NUMBER

writes released/vNUMBER.desc, the compiled descriptors, and released/golden/MESSAGE.bin and .json, one filled example of
each top-level message that has none yet.  What is there already is never overwritten.
"""
import pathlib
import subprocess
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

HERE = pathlib.Path(__file__).resolve().parent
SCHEMAS = ("telemetry.proto", "envelope.proto", "delta.proto")
UUID = bytes(range(0x10, 0x20))
LOG = {"generation": 3, "uuid": UUID}

ENVELOPE = dict(
    version=1, spool_id=bytes(range(16)), gateway_id="gw-1", home_region="eu-1", lane="LANE_BACKLOG", shard=7,
    ordinal_first=1000000, ordinal_end=1000100, count=98, clock_ns=1163438041250000000, idle=True,
    cut_ns=1163438041280000000, trace_id=bytes(range(0x20, 0x30)), span_id=bytes(range(0x30, 0x38)), block_format=1,
    block=b"the block is opaque to protobuf")

# Values that would show a changed type: large, negative, not ASCII, zero where zero is present.
GOLDEN = {
    "Telemetry": dict(
        integrity_hash=0xFEDCBA9876543210, timestamp_ns=-1, device_id="mote-20", region="eu-1",
        metrics={"humidity": 51.46, "temperature": -21.21, "°": 0.0, "": 1e300}),
    "TelemetryEnvelope": ENVELOPE,
    "RegionData": dict(
        envelope=b"\x08\x01", words=["", "mote", "lab", "caf\u00e9"], type=[1, 1, 0], place=[2, 3, 0], owner=[0, 0, 0],
        flags=b"\x00\x01\x02", appended_ns=1163438041300000000, watermark_ns=-5, replay=True),
    "GatewayDark": dict(gateway_id="gw-1", spool_id=bytes(range(16)), dark=True, decided_ns=1163438041300000000),
    "Aside": dict(reason="undecodable", value=b"\xff\x00"),
    "ConsolidatedEnvelope": dict(
        version=1, region_id="eu-1", partition_key=7, log_id=LOG, as_of=1 << 40,
        covered=[dict(log=LOG, partition=7, next=99)], watermark_ns=1163438041000000000, completeness=0.75,
        cut_ns=1163438041300000000, trace_id=bytes(range(0x20, 0x30)),
        windows=[dict(start_ns=1163438040000000000, type="mote", metric="temperature", count=60, devices=20,
                      sum=(-5).to_bytes(16, "little", signed=True), sum_squares=(25).to_bytes(32, "little"), min=-0.5,
                      max=22.5, bucket=[-70000, -1, 0, 65000], bucket_count=[1, 2, 3, 1 << 33], not_finite=1,
                      out_of_range=2, late=3)],
        notices=[dict(rule="spike", device_id="mote-20", type="mote", place="lab", metric="temperature", event_ns=1,
                      arrival_ns=2, value=99.5, expected=21.5, score=0.99, onset_ns=-3, cleared=True,
                      reading_hash=0xFEDCBA9876543210)],
        oldest_change_ns=1163438039300000000, unique=1 << 35, duplicates=5),
    "GlobalData": dict(delta=[b"\x08\x01", b""]),
    "WindowDecision": dict(start_ns=-60000000000, status="PARTIAL", missing_regions=["us-1", "ap-1"],
                           decided_ns=1163438041300000000, completeness=0.5, detector=300),
    "WindowSilence": dict(type="mote", metric="temperature", last_ns=-60000000000, decided_ns=1163438041300000000,
                          detector=300),
    "AlertRecord": dict(
        state="ESCALATED", alert_id=0xFEDCBA9876543210, rule="cold-room", subject="place:lab\x1feu", severity="critical",
        raised_severity="warning", kind="spike", direction=-1, region="eu", type="mote", place="lab", metric="temperature",
        devices=1 << 33, device_id="mote-20", value=-99.5, expected=21.5, low=19.5, high=23.5, score=0.99,
        shares=[dict(metric="temperature", share=0.75)], onset_ns=-3, newest_ns=4, event_ns=5, arrival_ns=6, clock_ns=-7,
        decided_ns=8, by="ann", until_ns=9, note="caf\u00e9", reason="quiet", trace_id=bytes(range(0x20, 0x30)),
        members=[1, 0xFEDCBA9876543210]),
    "AlertSent": dict(receiver=0xFEDCBA9876543210, alert_id=1, version=1 << 40, refused=True, step="ENDS"),
    "WindowAlert": dict(rule="window-spike", type="mote", metric="temperature", start_ns=-60000000000, value=99.5,
                        expected=21.5, score=0.99, onset_ns=-120000000000, cleared=True, decided_ns=1163438041300000000),
}


def as_devices_write(message):
    """Metrics sorted bytewise by name, which protobuf's own deterministic form does not promise."""
    rest, entries = type(message)(), []
    rest.CopyFrom(message)
    rest.ClearField("metrics")
    for name in sorted(message.metrics, key=str.encode):
        entries.append(type(message)(metrics={name: message.metrics[name]}).SerializeToString())
    return rest.SerializeToString() + b"".join(entries)


def main():
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    descriptor = HERE / f"released/v{sys.argv[1]}.desc"
    if descriptor.exists():
        sys.exit(f"{descriptor} is there already; what is released does not change")
    descriptor.parent.mkdir(exist_ok=True)
    subprocess.run(["protoc", f"-I{HERE}", f"--descriptor_set_out={descriptor}", *SCHEMAS], check=True)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor.read_bytes()).file:
        pool.Add(file)
    (HERE / "released/golden").mkdir(exist_ok=True)
    for name, values in GOLDEN.items():
        if (HERE / f"released/golden/{name}.bin").exists():
            continue
        message = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"sluice.v1.{name}"))(**values)
        data = as_devices_write(message) if name == "Telemetry" else message.SerializeToString(deterministic=True)
        (HERE / f"released/golden/{name}.bin").write_bytes(data)
        text = json_format.MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=False)
        (HERE / f"released/golden/{name}.json").write_text(text + "\n")


main()

#!/usr/bin/env python3
"""Published vectors of Sluice's hashes, from an implementation of its own.

SipHash-2-4 after the paper (Aumasson, Bernstein, 2012), in plain integers modulo 2^64, sharing nothing with
bpf/shared/siphash.h.  Writes beside itself:

  siphash.tsv  key, message (hex) -> word 1 (SipHash-2-4-64), word 2 of the tag, and SipHash-2-4-128 as 16 bytes
  shards.tsv   device_id -> SipHash-2-4-64 under the key 00..0f, and that modulo 16: the shard

Words are 16 hex digits of the number, most significant first; bytes are in order of memory.

  make.py          writes the files
  make.py --check  exit status 1 when they are not what would be written
"""
import pathlib
import sys

MASK = (1 << 64) - 1
HERE = pathlib.Path(__file__).resolve().parent


def rotl(x, b):
    return ((x << b) | (x >> (64 - b))) & MASK


class SipHash:
    """The state of figure 2.1, fed at once."""

    def __init__(self, key, message, wide):
        k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
        self.v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
        if wide:
            self.v[1] ^= 0xEE
        padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
        for i in range(0, len(padded), 8):
            m = int.from_bytes(padded[i:i + 8], "little")
            self.v[3] ^= m
            self.rounds(2)
            self.v[0] ^= m

    def rounds(self, n):
        a, b, c, d = self.v
        for _ in range(n):
            a = (a + b) & MASK
            c = (c + d) & MASK
            b, d = rotl(b, 13) ^ a, rotl(d, 16) ^ c
            a = rotl(a, 32)
            c = (c + b) & MASK
            a = (a + d) & MASK
            b, d = rotl(b, 17) ^ c, rotl(d, 21) ^ a
            c = rotl(c, 32)
        self.v = [a, b, c, d]

    def out(self, index, constant):
        self.v[index] ^= constant
        self.rounds(4)
        a, b, c, d = self.v
        return a ^ b ^ c ^ d


def tag(key, message):
    s = SipHash(key, message, wide=False)
    return s.out(2, 0xFF), s.out(1, 0xDD)


def wide(key, message):
    s = SipHash(key, message, wide=True)
    return b"".join(s.out(*step).to_bytes(8, "little") for step in ((2, 0xEE), (1, 0xDD)))


OPEN_KEY = bytes(range(16))


def siphash_rows():
    yield "# key\tmessage\tword1\tword2\tsiphash128\n"
    keys = OPEN_KEY, bytes(16), bytes([0xFF] * 16), bytes((i * 73 + 11) % 256 for i in range(16))
    for key in keys:
        for length in [*range(0, 34), 63, 64, 65, 127, 128, 255, 256, 257, 1271]:
            message = bytes((i * i + 3 * i) % 256 for i in range(length)) if key != OPEN_KEY else bytes(i % 256 for i in range(length))
            w1, w2 = tag(key, message)
            yield f"{key.hex()}\t{message.hex()}\t{w1:016x}\t{w2:016x}\t{wide(key, message).hex()}\n"


def shard_rows():
    yield "# device_id\thash\tshard of 16\n"
    for device in ["a", "mote-1", "mote-17", "mote-54", "sensor/eu-west/0001", "0123456789abcdef0123456789abcdef", "Brüssel"]:
        w1, _ = tag(OPEN_KEY, device.encode())
        yield f"{device}\t{w1:016x}\t{w1 % 16}\n"


def main():
    wrong = False
    for name, rows in ("siphash.tsv", siphash_rows()), ("shards.tsv", shard_rows()):
        text, path = "".join(rows), HERE / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path} is not what {__file__} makes")
            wrong = True
    # Appendix A of the paper.
    assert tag(OPEN_KEY, bytes(range(15)))[0] == 0xA129CA6149BE45E5
    sys.exit(wrong)


if __name__ == "__main__":
    main()

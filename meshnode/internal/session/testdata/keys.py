"""Known answers for TestKeyDerivationKnownAnswers, by RFC 5869 and RFC 2104
from Python's standard library. Run: python3 keys.py"""
import hashlib
import hmac
import struct


def parts(*p):
    h = hashlib.sha256()
    for x in p:
        h.update(struct.pack(">Q", len(x)) + x)
    return h.digest()


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def expand(prk, info, n):
    out, t, i = b"", b"", 1
    while len(out) < n:
        t = mac(prk, t + info + bytes([i]))
        out, i = out + t, i + 1
    return out[:n]


protocol = b"x0tta6bl4-mesh/1 X-Wing ML-DSA-65 SHA-256 AES-256-GCM SipHash-2-4"
reply = parts(protocol, b"init message", b"reply core")
prk = mac(reply, bytes(range(32)))
values = {
    "reply hash": reply,
    "finish hash": parts(reply, b"confirmation", b"signature"),
}
for label, n in [
    ("session id", 16),
    ("initiator key", 32), ("initiator iv", 12), ("initiator header", 16),
    ("responder key", 32), ("responder iv", 12), ("responder header", 16),
]:
    values[label] = expand(prk, b"x0tta6bl4-mesh/1 " + label.encode(), n)
for role in "initiator", "responder":
    label = role + " confirmation"
    values[label] = mac(expand(prk, b"x0tta6bl4-mesh/1 " + label.encode(), 32), reply)
for name, value in values.items():
    print(f"{name}\t{value.hex()}")

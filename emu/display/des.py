"""DES of one block, for the password of VNC clients and for nothing else (FIPS 46-3; RFC 6143, 7.2.2)."""

from __future__ import annotations

IP = (
    *(range(58, 0, -8)), *(range(60, 0, -8)), *(range(62, 0, -8)), *(range(64, 0, -8)),
    *(range(57, 0, -8)), *(range(59, 0, -8)), *(range(61, 0, -8)), *(range(63, 0, -8)),
)  # fmt: skip
FP = tuple(IP.index(n) + 1 for n in range(1, 65))
E = tuple((4 * row + column - 1) % 32 + 1 for row in range(8) for column in range(6))
P = (16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4,
     25)  # fmt: skip
PC1 = (57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
       63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12,
       4)  # fmt: skip
PC2 = (14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55,
       30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32)  # fmt: skip
SHIFTS = (1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1)
# Each box as its four rows of sixteen hexadecimal digits.
BOXES = (
    "e4d12fb83a6c5907 0f74e2d1a6cb9538 41e8d62bfc973a50 fc8249175b3ea06d",
    "f18e6b34972dc05a 3d47f28ec01a69b5 0e7ba4d158c6932f d8a13f42b67c05e9",
    "a09e63f51dc7b428 d709346a285ecbf1 d6498f30b12c5ae7 1ad069874fe3b52c",
    "7de3069a1285bc4f d8b56f03472c1ae9 a690cb7df13e5284 3f06a1d8945bc72e",
    "2c417ab6853fd0e9 eb2c47d150fa3986 421bad78f9c5630e b8c71e2d6f09a453",
    "c1af92680d34e75b af427c9561de0b38 9ef528c3704a1db6 432c95fabe17608d",
    "4b2ef08d3c975a61 d0b7491ae35c2f86 14bdc37eaf680592 6bd814a7950fe23c",
    "d2846fb1a93e50c7 1fd8a374c56b0e92 7b419ce206adf358 21e74a8dfc90356b",
)
S = tuple(tuple(int(digit, 16) for digit in box.replace(" ", "")) for box in BOXES)


def _permuted(value: int, bits: int, table: tuple[int, ...]) -> int:
    out = 0
    for place in table:
        out = out << 1 | value >> (bits - place) & 1
    return out


def _keys(key: int) -> list[int]:
    halves = _permuted(key, 64, PC1)
    left, right = halves >> 28, halves & 0xFFFFFFF
    out = []
    for shift in SHIFTS:
        left = (left << shift | left >> (28 - shift)) & 0xFFFFFFF
        right = (right << shift | right >> (28 - shift)) & 0xFFFFFFF
        out.append(_permuted(left << 28 | right, 56, PC2))
    return out


def encrypt(key: bytes, block: bytes) -> bytes:
    """A block of 8 bytes under a key of 8."""
    value = _permuted(int.from_bytes(block, "big"), 64, IP)
    left, right = value >> 32, value & 0xFFFFFFFF
    for round_key in _keys(int.from_bytes(key, "big")):
        mixed = _permuted(right, 32, E) ^ round_key
        out = 0
        for n in range(8):
            six = mixed >> (42 - 6 * n) & 0x3F
            out = out << 4 | S[n][(six >> 4 & 2 | six & 1) * 16 + (six >> 1 & 15)]
        left, right = right, left ^ _permuted(out, 32, P)
    return _permuted(right << 32 | left, 64, FP).to_bytes(8, "big")


def answer(password: bytes, challenge: bytes) -> bytes:
    """What a client sends back for a challenge: VNC turns the bits of each byte of the key around."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password[:8].ljust(8, b"\0"))
    return b"".join(encrypt(key, challenge[at : at + 8]) for at in range(0, len(challenge), 8))

"""Recomputes the transcript of a stored proof from docs/sumcheck-protocol.md alone.

Usage: python3 transcript.py FOLDER VARIABLES CONTEXT

FOLDER holds key.bin, proof.bin, inputs.txt and outputs.txt of a program with weights whose inputs
come before its outputs; VARIABLES is the number of variables of the weights' stack, CONTEXT 32
bytes in hexadecimal. Printed is, one element of the challenge field a line: the anchor's point,
then the first challenges (alpha and gamma of the lookups). Nothing but the standard library is
used: BLAKE3 is written out below, from its specification.
"""

import struct
import sys
from pathlib import Path

P = 2**64 - 2**32 + 1
MASK = 2**32 - 1
IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
BLOCK, CHUNK = 64, 1024


def compress(cv, words, counter, length, flags):
    """The compression function, cut to a chaining value."""
    v = cv + IV[:4] + [counter & MASK, counter >> 32, length, flags]

    def mix(a, b, c, d, x, y):
        for word, first, second in ((x, 16, 12), (y, 8, 7)):
            v[a] = (v[a] + v[b] + word) & MASK
            v[d] = rotate(v[d] ^ v[a], first)
            v[c] = (v[c] + v[d]) & MASK
            v[b] = rotate(v[b] ^ v[c], second)

    for _ in range(7):
        for i in range(4):
            mix(i, i + 4, i + 8, i + 12, words[2 * i], words[2 * i + 1])
        for i in range(4):
            mix(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, words[2 * i + 8], words[2 * i + 9])
        words = [words[i] for i in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def rotate(x, n):
    return (x >> n | x << (32 - n)) & MASK


def chunk(data, counter, root):
    cv = IV
    blocks = [data[i : i + BLOCK] for i in range(0, len(data), BLOCK)] or [b""]
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        flags = CHUNK_START * (i == 0) | CHUNK_END * last | ROOT * (last and root)
        cv = compress(cv, list(struct.unpack("<16I", block.ljust(BLOCK, b"\0"))), counter, len(block), flags)
    return cv


def tree(data, counter, root):
    if len(data) <= CHUNK:
        return chunk(data, counter, root)
    # The left part is the largest power of two of chunks that leaves something for the right.
    left = 1 << ((len(data) - 1) // CHUNK).bit_length() - 1
    pair = tree(data[: left * CHUNK], counter, False) + tree(data[left * CHUNK :], counter + left, False)
    return compress(IV, pair, 0, BLOCK, PARENT | ROOT * root)


def blake3(data):
    return struct.pack("<8I", *tree(data, 0, True))


class Transcript:
    """The sponge: what was absorbed since the last digest follows that digest."""

    def __init__(self, label):
        self.absorbed, self.digest = bytearray(label), b""
        self.absorb_bytes(b"label", label)

    def word(self, x):
        self.digest = b""
        self.absorbed += struct.pack("<Q", x)

    def absorb_bytes(self, name, data):
        self.word(len(name))
        for byte in name:
            self.word(byte)
        self.word(len(data))
        for byte in blake3(data):
            self.word(byte)

    def byte(self):
        if not self.digest:
            self.digest = blake3(bytes(self.absorbed))
            self.absorbed = bytearray(self.digest)
        byte, self.digest = self.digest[-1], self.digest[:-1]
        return byte

    def coefficient(self):
        while True:
            x = int.from_bytes(bytes(self.byte() for _ in range(8)), "little")
            if x < P:
                return x

    def challenge(self):
        return [self.coefficient() for _ in range(3)]


def tensors(path):
    """Little-endian 64-bit elements of each tensor, in the file's order."""
    for line in path.read_text().splitlines():
        data = [int(x) for x in line.split(":")[1].split()]
        yield struct.pack(f"<{len(data)}q", *data)


def main():
    # The hash function's published digest of nothing.
    assert blake3(b"").hex().startswith("af1349b9f5f9a1a6a0404dea36dcc949")
    folder, variables = Path(sys.argv[1]), int(sys.argv[2])
    key, proof = (folder / "key.bin").read_bytes(), (folder / "proof.bin").read_bytes()
    # Key: mark (8), parameters (3), flag (1), root (28), anchor (24), program.
    root, program = key[12:40], key[64:]
    anchor = Transcript(b"dsperse-sumcheck/2/anchor")
    anchor.absorb_bytes(b"program", program)
    anchor.absorb_bytes(b"parameters", key[8:11])
    anchor.absorb_bytes(b"weights", root)
    challenges = [anchor.challenge() for _ in range(variables)]
    start = Transcript(b"dsperse-sumcheck/2")
    start.absorb_bytes(b"key", key)
    start.absorb_bytes(b"context", bytes.fromhex(sys.argv[3]))
    for name in ("inputs.txt", "outputs.txt"):
        for data in tensors(folder / name):
            start.absorb_bytes(b"public", data)
    start.absorb_bytes(b"weights", root)
    start.absorb_bytes(b"activations", proof[8:36])
    challenges += [start.challenge() for _ in range(2)]
    for challenge in challenges:
        print(*challenge)


if __name__ == "__main__":
    main()

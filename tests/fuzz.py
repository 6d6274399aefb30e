"""Damage streams and models in every way: is each an error, or decoded exactly?    python -m tests.fuzz

Prints how many were tried, how many were errors and how many decoded; a wrong answer or an error of
another kind than ValueError is an AssertionError, with the seed that makes it again.
"""
import argparse
import io
import os
import resource
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

import tinycodec as tc
from tinycodec.files import stream as container


def damaged_bytes(data, rng):
    """-> (name of the damage, damaged bytes)."""
    data = bytearray(data)
    i, j = np.sort(rng.integers(0, len(data) + 1, 2))
    noise = rng.bytes(int(rng.integers(1, 50)))
    kind = rng.choice(["flipped bits", "truncated", "inserted", "deleted", "overwritten", "moved", "random", "empty",
                       "undamaged"], p=[0.25, 0.15, 0.15, 0.15, 0.1, 0.05, 0.04, 0.01, 0.1])
    if kind == "flipped bits":
        for bit in rng.integers(0, 8 * len(data), rng.integers(1, 9)):
            data[bit // 8] ^= 1 << bit % 8
    elif kind == "truncated":
        del data[i:]
    elif kind == "inserted":
        data[i:i] = noise
    elif kind == "deleted":
        del data[i:min(j, i + 50)]
    elif kind == "overwritten":
        data[i:i + len(noise)] = noise
    elif kind == "moved":
        data = data[i:j] + data[:i] + data[j:]
    elif kind == "random":
        data[4 * int(rng.integers(2)):] = rng.bytes(len(data))
    elif kind == "empty":
        data = b""
    return kind, bytes(data)


def damaged_stream(data, rng):
    """As `damaged_bytes`, or with edits that know the format."""
    kind = rng.choice(["bytes", "header field", "checksummed header field", "swapped chunks", "repeated chunk",
                       "swapped table entries", "length in the table"], p=[0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05])
    if kind == "bytes":
        return damaged_bytes(data, rng)
    stream = container.unpack(data)
    chunks = [chunk for _, chunk in stream.chunks]
    begin, size = container.HEADER.size, container.ENTRY.size
    table = [data[begin + size * i:begin + size * (i + 1)] for i in range(len(chunks))]
    header = list(container.HEADER.unpack_from(data))
    a, b = rng.permutation(len(chunks))[:2]
    if kind.endswith("header field"):
        field = rng.integers(1, 6)
        largest = (0, 255, 255, 2**32 - 1, 2**32 - 1)
        header[field] = rng.bytes(8) if field == 5 else int(rng.choice([
            rng.integers(0, largest[field] + 1), largest[field], 0, 1, header[field] ^ 1, header[field] + 1000]) & largest[field])
    if kind.startswith("checksummed"):                   # as a malicious or mistaken encoder would write it
        quantizer = container.QUANTIZERS[header[2] % 2]
        count = len(container.chunk_slices(min(header[4], 5000)))
        return kind, container.pack(quantizer, header[3], min(header[4], 5000), header[5], (3 * chunks)[:count])
    if kind == "swapped chunks":
        chunks[a], chunks[b] = chunks[b], chunks[a]
    elif kind == "repeated chunk":
        chunks[a] = chunks[b]
    elif kind == "swapped table entries":
        table[a], table[b] = table[b], table[a]
    elif kind == "length in the table":
        length = int(rng.choice([0, 1, 2**32 - 1, rng.integers(0, 2**32)]))
        table[a] = container.ENTRY.pack(length, container.ENTRY.unpack(table[a])[1])
    return kind, b"".join([container.HEADER.pack(*header), *table, *chunks])


def damaged_model(data, rng):
    """As `damaged_bytes`, or a .npz file with arrays that do not belong there."""
    kind = rng.choice(["bytes", "pickled object", "wrong shape", "wrong dtype", "missing array", "not finite",
                       "size in a header", "zip bomb", "changed value", "wrong sigma"],
                      p=[0.5, 0.05, 0.05, 0.05, 0.05, 0.1, 0.1, 0.02, 0.06, 0.02])
    if kind == "bytes":
        return damaged_bytes(data, rng)
    arrays = dict(np.load(io.BytesIO(data)))
    name = str(rng.choice(list(arrays)))
    a = arrays[name]
    raw = {}
    if kind == "pickled object":
        arrays[name] = np.array([{}, print], dtype=object)
    elif kind == "wrong shape":
        arrays[name] = [a[None], a.ravel()[:-1], a.T[..., None]][rng.integers(3)]
    elif kind == "wrong dtype":
        arrays[name] = a.astype(rng.choice(["f2", "c16", "U5", ">f4", "?"]))
    elif kind == "missing array":
        del arrays[name]
    elif kind == "not finite":
        arrays[name] = a.astype(float)
        arrays[name].flat[rng.integers(a.size)] = rng.choice([np.nan, np.inf, -np.inf])
        arrays[name] = arrays[name].astype(np.float64 if a.dtype == np.int64 else a.dtype)
    elif kind == "changed value":
        name = str(rng.choice([n for n in arrays if n.startswith("g_s.")]))
        arrays[name].flat[rng.integers(arrays[name].size)] += 1
    elif kind == "wrong sigma":
        arrays["prior.sigma"] = arrays["prior.sigma"] * rng.choice([-1, 0, 1.01, 1e300])
    else:
        shape = [(-1,), (2**40,), (2**62, 2**62), (-5, 3), (10**6, 10**6), (0,)][rng.integers(6)]
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": a.dtype.str, "fortran_order": False, "shape": shape})
        raw[name] = header.getvalue() + bytes(100_000_000 if kind == "zip bomb" else 100)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if raw else zipfile.ZIP_STORED) as archive:
        for n, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=True)
            archive.writestr(f"{n}.npy", raw.get(n, member.getvalue()))
    return kind, file.getvalue()


def check_stream(codec, data, expected, rng):
    """-> what became of one damaged stream, as (outcome of decompress, outcome of salvage)."""
    kind, damaged = damaged_stream(data, rng)
    try:
        decoded = codec.decompress(damaged)
    except ValueError as error:
        outcome = "error"
        assert len(str(error)) < 700 and "\n" not in str(error), error
    else:
        assert kind == "checksummed header field" or np.array_equal(decoded, expected), "a wrong answer without an error"
        outcome = "right"
    try:
        images, lost = codec.salvage(damaged)
    except ValueError:
        assert outcome == "error"
        return outcome, "nothing to salvage"
    if kind != "checksummed header field":
        kept = np.delete(np.arange(len(expected)), lost)
        assert len(images) == len(expected) and np.array_equal(images[kept], expected[kept]), "salvaged a wrong image"
        assert not images[lost].any()
    return outcome, "all salvaged" if not lost else "some salvaged"


def check_model(codec, path, data, stream, expected, rng):
    """-> what became of one damaged model."""
    _, damaged = damaged_model(data, rng)
    path.write_bytes(damaged)
    try:
        loaded = tc.Codec.load(path)
        decoded = loaded.decompress(stream)
    except ValueError:
        return "error"
    assert np.array_equal(decoded, expected), "a wrong answer without an error"
    return "right"


def fuzz(codec, images, streams, models, seed, folder):
    """-> (Counter of outcomes, longest processor seconds of a case). Raises AssertionError that names the seed of a failure."""
    path = Path(folder) / "model.npz"
    codec.save(path)
    model = path.read_bytes()
    data = {q: codec.compress(images, quantizer=q) for q in container.QUANTIZERS}
    expected = {q: codec.decompress(data[q]) for q in data}
    outcomes, longest = Counter(), 0
    for i in range(streams + models):
        rng = np.random.default_rng([seed, i])
        q = str(rng.choice(container.QUANTIZERS))
        begun = time.process_time()
        try:
            if i < streams:
                for what in check_stream(codec, data[q], expected[q], rng):
                    outcomes[f"stream: {what}"] += 1
            else:
                outcomes[f"model: {check_model(codec, path, model, data['round'], expected['round'], rng)}"] += 1
        except BaseException as error:
            raise AssertionError(f"case {i} of seed {seed}: {type(error).__name__}: {error}") from error
        longest = max(longest, time.process_time() - begun)
    return outcomes, longest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=5000, help="default 5000")
    parser.add_argument("--models", type=int, default=2000, help="default 2000")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    args = parser.parse_args()
    images, test_images = tc.load_mnist()
    codec = tc.Codec(latent_dims=10)
    tc.train(codec, images[:6000], lmbda=2000, epochs=2, batch=32, progress=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        outcomes, longest = fuzz(codec, test_images[:2500], args.streams, args.models, args.seed, folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**(20 if sys.platform == "darwin" else 10)
    for what, count in sorted(outcomes.items()):
        print(f"{what:<30} {count:6}")
    print(f"wrong answers, other errors         0\nlongest {longest:.2f} s of a processor, peak memory grew by {grown:.0f} MiB")


if __name__ == "__main__":
    main()

"""Damage all that tinycodec reads, in every way: is each an error, or read exactly?    python -m tests.fuzz

Every case runs in a process of its own. A failure is a wrong answer, an error other than a ValueError of one line, the
death of the process, or more than 2 s of a processor or 300 MB above what the undamaged input takes; it is printed with
the options that make it again.
"""
import argparse
import bz2
import gzip
import io
import json
import os
import signal
import struct
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

import tinycodec as tc
from tests import Stop, stopped_after
from tinycodec.files import images as imagefiles, stream as container

SECONDS, MEGABYTES = 2, 300                              # that a case may take more than the undamaged input
BOMB = 350 * 2**20                                       # bytes of zeros that a bomb inflates to
GOOD = "right", "salvaged", "error"                      # outcomes


def damaged_bytes(data, rng):
    """As a disk or a network damages them, which do not know what they hold."""
    (i, j), noise, flipped = np.sort(rng.integers(0, len(data) + 1, 2)), rng.bytes(rng.integers(1, 50)), bytearray(data)
    for bit in rng.integers(0, 8 * len(data), rng.integers(1, 9)):
        flipped[bit // 8] ^= 1 << bit % 8
    damages = [lambda: bytes(flipped), lambda: data[:i], lambda: data[:i] + noise + data[i:],
               lambda: data[:i] + data[min(j, i + 50):], lambda: data[:i] + noise + data[i + len(noise):],
               lambda: data[i:j] + data[:i] + data[j:],
               lambda: data[:4 * int(rng.integers(2))] + rng.bytes(len(data)), lambda: b""]
    return rng.choice(damages, p=[0.3, 0.15, 0.15, 0.15, 0.1, 0.05, 0.09, 0.01])()


def deflated_bomb(data, wbits):
    """`data` and a bomb behind it, deflated in the format that zlib calls `wbits`, without the checksum at its end."""
    first, zeros = zlib.compressobj(9, zlib.DEFLATED, wbits), zlib.compressobj(9, zlib.DEFLATED, -15)
    block = zeros.compress(bytes(2**20)) + zeros.flush(zlib.Z_FULL_FLUSH)        # knows nothing of what is before it
    return first.compress(data) + first.flush(zlib.Z_FULL_FLUSH) + BOMB // 2**20 * block + b"\3\0"


def npy_header(dtype, shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def wrong_shape(rng, *rest):
    return [(-1,), (2**40, *rest), (2**62, 2**62), (-5, *rest), (10**6, *rest), (0, *rest)][rng.integers(6)]


def npz(arrays, bomb=None, method=zipfile.ZIP_DEFLATED, disguised=True):
    """{name: array, or its bytes} -> bytes of a .npz file. The one called `bomb` has a bomb behind it; `disguised`, the
    directory gives size and checksum without the bomb."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, a in arrays.items():
            np.save(member := io.BytesIO(), a)
            data = a if isinstance(a, bytes) else member.getvalue()
            if name == bomb:
                size, crc = len(data), zlib.crc32(data)
                if not disguised:
                    size, crc = size + BOMB, zlib.crc32(bytes(BOMB), crc)
                data = bz2.compress(data + bytes(BOMB)) if method == zipfile.ZIP_BZIP2 else deflated_bomb(data, -15)
            archive.writestr(f"{name}.npy", data)
            if name == bomb:
                info = archive.getinfo(f"{name}.npy")    # goes into the directory when the archive is closed
                info.compress_type, info.file_size, info.CRC = method, size, crc
    return file.getvalue()


def damaged_archives(arrays, names, rng):
    """Damages of one array, one of `names`, of a .npz file."""
    name = str(rng.choice(names))
    a, others = arrays[name], {n: a for n, a in arrays.items() if n != name}
    kind = str(rng.choice(["f2", "c16", "U5", "?", "S9"]))
    not_a_number = np.full(a.shape, rng.choice([np.nan, np.inf]), a.dtype if a.dtype.kind == "f" else "f8")
    huge = (a.dtype.str, (BOMB // a[0].nbytes, *a.shape[1:])) if a.ndim else (f"<U{BOMB // 4}", ())
    return {
        "undamaged": lambda: npz(arrays),
        "bomb": lambda: npz({**others, name: npy_header(*huge)}, name, disguised=False),
        "disguised bomb": lambda: npz(arrays, name),
        "wrong shape": lambda: npz({**others, name: [a[None], a.ravel()[:-1], a.T[..., None]][rng.integers(3)]}),
        "wrong dtype": lambda: npz({**others, name: np.zeros(a.shape, kind)}),
        "other byte order": lambda: npz({**others, name: a.astype(a.dtype.newbyteorder())}),
        "missing array": lambda: npz(others),
        "pickled object": lambda: npz({**others, name: np.array([{}, print], dtype=object)}),
        "size in a header": lambda: npz({**others, name: npy_header(a.dtype.str, wrong_shape(rng)) + bytes(100)}),
        "not finite": lambda: npz({**others, name: not_a_number}),
        "bytes": lambda: damaged_bytes(npz(arrays), rng),
        "bzip2 bomb": lambda: npz(arrays, name, zipfile.ZIP_BZIP2)}


def one_line(error):
    return len(str(error)) < 700 and str(error).isprintable()


def salvage(codec, data):
    """-> (outcome, images, lost), or ValueError."""
    try:
        decoded = codec.decompress(data)
    except ValueError as error:
        assert one_line(error), error
        return "salvaged", *codec.salvage(data)
    images, lost = codec.salvage(data)
    assert not lost and np.array_equal(decoded, images), "decompress and salvage disagree"
    return "right", images, lost


# Each kind of input: codec, images, folder -> (damages, check). damages(rng) is {name: function that makes a damaged
# input}; check(input) returns an outcome, or raises ValueError, and anything else is a failure.

def streams(codec, images, folder):
    """Decoded exactly or an error; what is salvaged is right, except the images that are named."""
    intact = [codec.compress(images, quantizer=q) for q in container.QUANTIZERS]
    expected = [codec.decompress(data) for data in intact]
    begin, size = container.HEADER.size, container.ENTRY.size

    def damages(rng):
        data = intact[rng.integers(2)]
        header, chunks = list(container.HEADER.unpack_from(data)), [chunk for _, chunk in container.unpack(data).chunks]
        table = [data[begin + size * i:begin + size * (i + 1)] for i in range(len(chunks))]
        order = rng.integers(len(chunks), size=len(chunks))
        field, wrong = rng.integers(1, 6), [0, 1, int(rng.integers(256)), 255, 2001, 2**32 - 1][rng.integers(6)]
        changed = list(header)
        changed[field] = rng.bytes(8) if field == 5 else wrong % 2**8 if field < 3 else wrong
        length = container.ENTRY.pack(wrong, container.ENTRY.unpack(table[-1])[1])

        def join(header=header, table=table, chunks=chunks):
            return b"".join([container.HEADER.pack(*header), *table, *chunks])

        return {"undamaged": join,
                "table of 34 MB": lambda: join(header=[*header[:4], 2**32 - 1, header[5]], table=table[:1] * 4294968),
                "bytes": lambda: damaged_bytes(data, rng),
                "header": lambda: join(header=changed),
                "chunks": lambda: join(chunks=[chunks[i] for i in order]),
                "table": lambda: join(table=[table[i] for i in order]),
                "length": lambda: join(table=[*table[:-1], length])}

    def check(data):
        outcome, salvaged, lost = salvage(codec, data)
        kept = np.delete(np.arange(len(images)), lost)
        assert any(np.array_equal(salvaged[kept], e[kept]) for e in expected), "a wrong answer without an error"
        assert len(salvaged) == len(images) and not salvaged[lost].any(), "what is lost is not black"
        return outcome

    return damages, check


def mistaken(codec, images, folder):
    """Streams whose checksums are right and whose contents are not: as many images as promised, or an error."""
    intact = container.unpack(codec.compress(images))
    chunks = [chunk for _, chunk in intact.chunks]

    def damages(rng):
        count, huge = int(rng.integers(5000)), int(10**rng.uniform(6.01, 7))

        def pack(chunks=chunks, q="round", seed=0, n=intact.n, fingerprint=intact.fingerprint):
            return container.pack(q, seed, n, fingerprint, chunks)

        return {"undamaged": pack,
                "huge count": lambda: pack([b""] * len(container.chunk_slices(huge)), n=huge),
                "other chunks": lambda: pack([chunks[i] for i in rng.integers(len(chunks), size=len(chunks))]),
                "random chunks": lambda: pack([rng.bytes(rng.integers(2 * len(chunk))) for chunk in chunks]),
                "empty chunks": lambda: pack([b""] * len(chunks)),
                "bytes": lambda: pack([damaged_bytes(chunks[0], rng), *chunks[1:]]),
                "wrong count": lambda: pack(n=count),
                "other count": lambda: pack((5 * chunks)[:len(container.chunk_slices(count))], n=count),
                "dither": lambda: pack(q="dither", seed=int(rng.integers(2**32))),
                "other model": lambda: pack(fingerprint=rng.bytes(8))}

    def check(data):
        outcome, salvaged, _ = salvage(codec, data)
        n = container.HEADER.unpack_from(data)[4]
        assert salvaged.dtype == np.uint8 and salvaged.shape == (n, 28, 28), f"{salvaged.shape} instead of {n} images"
        return outcome

    return damages, check


def strings(codec, images, folder):
    """The images of the integers that these strings, and no others, are the code of; or an error."""
    intact = codec.compress_each(images[:100])

    def damages(rng):
        a, b, *others = (intact[i] for i in rng.permutation(100))
        cut = rng.integers(len(a + b))
        return {"undamaged": lambda: intact,
                "bytes": lambda: [b, damaged_bytes(a, rng), *others],
                "cut elsewhere": lambda: [(a + b)[:cut], (a + b)[cut:], *others],
                "random": lambda: [rng.bytes(rng.integers(40)), b, *others],
                "appended": lambda: [a + rng.choice([b"\0\0", b"\1", b]), b, *others],
                "long": lambda: [a, b + rng.bytes(10**7), *others]}

    def check(strings):
        decoded, coder = codec.decompress_each(strings), codec.range_coder()
        k = np.concatenate([coder.decode(string, 1, 0) for string in strings])
        assert coder.encode_each(k, 0) == strings, "compress_each would have written others"
        assert np.array_equal(decoded, codec.synthesis(codec.dequantise(k))), "a wrong answer without an error"
        return "right"

    return damages, check


def models(codec, images, folder):
    """Decodes what the undamaged model decodes, or an error."""
    path, stream = Path(folder) / "model.npz", codec.compress(images[:10])
    codec.save(path)
    expected, intact = codec.decompress(stream), dict(np.load(path))

    def damages(rng):
        name, log_sigma, sigma = f"g_s.{2 * rng.integers(2)}.w", intact["prior.log_sigma"], intact["prior.sigma"]
        dead = np.arange(len(sigma)) == rng.integers(len(sigma))
        return {**damaged_archives(intact, list(intact), rng),
                "changed value": lambda: npz({**intact, name: intact[name] + np.float32(rng.choice([1e-3, 1, 1e30]))}),
                "wrong sigma": lambda: npz({**intact, "prior.sigma": sigma * rng.choice([-1, 0, 1.01, 1e300])}),
                "sigma 0": lambda: npz({**intact, "prior.sigma": np.where(dead, 0, sigma),
                                        "prior.log_sigma": np.where(dead, np.float32(-1000), log_sigma)})}

    def check(data):
        path.write_bytes(data)
        loaded = tc.Codec.load(path)
        assert (loaded.sigma > 0).all(), "loaded, but of no use"
        assert np.array_equal(loaded.decompress(stream), expected), "a wrong answer without an error"
        return "right"

    return damages, check


def checkpoints(codec, images, folder):
    """A training goes on to the bits of one without interruption, or an error."""
    def train(codec, checkpoint=None):
        history = tc.train(codec, images[:6], 1000, 2, batch=3, threads=1, progress=False, checkpoint=checkpoint)
        return {**codec.params, **history}

    path, expected = Path(folder) / "checkpoint", train(tc.Codec(2))
    with suppress(Stop), stopped_after(2):               # of 2 epochs of 2 steps
        train(tc.Codec(2), path)
    intact = dict(np.load(path))

    def damages(rng):
        state = json.loads(str(intact["training"]))
        part = [state["settings"], state["rng"], state["rng"]["state"]][rng.integers(3)]
        part[str(rng.choice(list(part)))] = [None, "x", [], {}, 1e300, 2**200][rng.integers(6)]
        nonsense = ["", "null", "[]", "{}", "NaN", "[" * 10**5, "9" * 10**5, "\0\u202e", '{"settings": 3}']
        history = np.resize(intact["history"], (rng.choice([1, 3, 5, 6, 1000]), 3))        # of 2 epochs of 2 steps
        return {**damaged_archives(intact, [list(intact), ["training", "history"]][rng.integers(2)], rng),
                "nonsense": lambda: npz({**intact, "training": np.array(str(rng.choice(nonsense)))}),
                "other state": lambda: npz({**intact, "training": np.array(json.dumps(state))}),
                "history of another length": lambda: npz({**intact, "history": history})}

    def check(data):
        path.write_bytes(data)
        trained = train(tc.Codec(2), path)
        for name, a in expected.items():
            assert np.array_equal(trained[name], a), f"another {name} without an error"
        return "right"

    return damages, check


def image_files(codec, images, folder):
    """The images or an error; of bytes without a checksum (IDX, .npy), other images or an error."""
    images = 255 - images[:50]                           # missing rows would be black, and these are not
    idx, gz, npy, png = (imagefiles.encode_images(images[:n], name)
                         for name, n in (("a.idx", 50), ("a.idx.gz", 50), ("a.npy", 50), ("a.png", 1)))
    rows = [b"\0" + row.tobytes() for row in images[0]]

    def write_png(pixels, width=28, height=28, **more):
        chunks = {"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), **more, "IDAT": pixels, "IEND": b""}
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind.encode() + data + struct.pack(">I", zlib.crc32(kind.encode() + data))
            for kind, data in chunks.items())

    def damages(rng):
        file, all_rows, empty = [idx, gz, npy, png][rng.integers(4)], b"".join(rows), gzip.compress(b"") * 10**5
        pixels, text = zlib.compress(all_rows), {str(rng.choice(["zTXt", "iCCP"])): b"a\0\0" + deflated_bomb(b"", 15)}
        header, size = [2051, 50, 28, 28], rng.choice([0, 27, 28, 29, 2**16, 2**31 - 1, 2**32 - 1], 2)
        header[rng.integers(4)] = size[0]
        changed = struct.pack(">4I", *header) + idx[16:]
        wrong_header = npy_header("|u1", wrong_shape(rng, 28, 28))
        return {"undamaged": lambda: file,
                "gzip bomb": lambda: deflated_bomb(idx, 31),
                "many gzip members": lambda: [gz + empty, empty + gz][rng.integers(2)],
                "PNG of few rows": lambda: write_png(zlib.compress(b"".join(rows[:rng.integers(1, 28)]))),
                "bytes": lambda: damaged_bytes(file, rng),
                "PNG of more rows": lambda: write_png(zlib.compress(all_rows + rng.bytes(rng.integers(1, 99)))),
                "PNG bomb": lambda: write_png(deflated_bomb(all_rows, 15)),
                "PNG text bomb": lambda: write_png(pixels, **text),
                "PNG of another size": lambda: write_png(pixels, *map(int, size)),
                "IDX header": lambda: changed,
                "gzipped IDX header": lambda: gzip.compress(changed),
                ".npy header": lambda: wrong_header + images.tobytes()}

    def check(data):
        read = imagefiles.parse_images(data, "a file")
        assert read.dtype == np.uint8 and read.shape[1:] == (28, 28), f"images of {read.dtype} {read.shape}"
        if data.startswith((b"\x1f\x8b", b"\x89PNG")):
            assert np.array_equal(read, images[:50 if data[0] == 31 else 1]), "a wrong answer without an error"
        return "right"

    return damages, check


KINDS = streams, mistaken, strings, models, checkpoints, image_files


def in_a_process(check, data):
    """-> (outcome of check(data) in a process of its own, its processor seconds, the most memory it had in MB)."""
    import resource                                      # here: Windows has none
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        outcome = "?"
        try:
            signal.alarm(100)                            # these kill what hangs or spoils the machine for others
            for limit, value in ((resource.RLIMIT_AS, 4 * 2**30), (resource.RLIMIT_CPU, 20), (resource.RLIMIT_CORE, 0)):
                resource.setrlimit(limit, (value, value))
            outcome = check(data)
        except ValueError as error:
            outcome = "error" if one_line(error) else f"not one line: {error!r}"
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, outcome.encode(errors="replace")[:1000])
            os._exit(0)
    os.close(writer)
    _, status, usage = os.wait4(child, 0)
    with open(reader, errors="replace") as pipe:
        outcome = pipe.read() or f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return outcome, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def fuzz(codec, images, folder, cases, seed=0, first=0, kinds=KINDS, seconds=SECONDS):
    """-> ([(name of the kind, Counter of outcomes, most seconds and most MB above the undamaged)], [failure])."""
    table, failures = [], []
    for kind in kinds:
        damages, check = kind(codec, images, folder)
        outcome, *undamaged = in_a_process(check, damages(np.random.default_rng(seed))["undamaged"]())
        assert outcome == "right", f"undamaged {kind.__name__}: {outcome}"
        outcomes, most = Counter(), np.zeros(2)
        for i in range(first, first + cases):
            ways = damages(np.random.default_rng([seed, i]))
            way = "bytes" if "bytes" in ways and i % 2 else list(ways)[i // 2 % len(ways)]
            outcome, *used = in_a_process(check, ways[way]())
            used = np.subtract(used, undamaged)
            if outcome not in GOOD or used[0] > seconds or used[1] > MEGABYTES:
                failures.append(f"--kinds {kind.__name__} --images {len(images)} --seed {seed} --first {i} --cases 1: "
                                f"{way}, {outcome}, {used[0]:.1f} s and {used[1]:.0f} MB more")
                outcome = "failed"
            outcomes[outcome] += 1
            most = np.maximum(most, used)
        table.append((kind.__name__, outcomes, *most))
    return table, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500, help="of each kind, default 500")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, default 0")
    parser.add_argument("--images", type=int, default=2001, help="in a stream, default 2001")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--kinds", nargs="+", choices=[kind.__name__ for kind in KINDS], help="default all")
    args = parser.parse_args()
    train_images, test_images = tc.load_mnist()
    codec = tc.Codec(latent_dims=20, seed=0)             # as in conftest.py
    tc.train(codec, train_images[:2400], lmbda=2500, epochs=2, batch=32, progress=False)
    kinds = [kind for kind in KINDS if kind.__name__ in (args.kinds or kind.__name__)]
    with tempfile.TemporaryDirectory() as folder:
        table, failures = fuzz(codec, test_images[:args.images], folder, args.cases, args.seed, args.first, kinds)
    print(" " * 12, *(f"{name:>8}" for name in (*GOOD, "failed")), "  above the undamaged input: s   MB")
    for kind, outcomes, seconds, megabytes in table:
        print(f"{kind:12}", *(f"{outcomes[name]:8}" for name in (*GOOD, "failed")), f"{seconds:30.2f}{megabytes:5.0f}")
    sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()

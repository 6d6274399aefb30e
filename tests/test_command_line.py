import errno
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest

from tinycodec.files import stream as container
from tinycodec.__main__ import main
from tinycodec.files.checkpoint import fingerprint
from tinycodec.files.images import parse_images, read_images, write_images
from tinycodec.mnist import FILES

ROOT = Path(__file__).parent.parent


@contextmanager
def descriptor(number, file):
    """Standard input or output, 0 or 1, is `file` for a while; None: it is closed."""
    kept = os.dup(number)
    os.close(number) if file is None else os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


@pytest.fixture
def tinycodec(monkeypatch, capfdbinary):
    """The command line: tinycodec(argument, …, stdin=bytes) -> an object with status, stdout and stderr, the latter bytes."""
    def run(*arguments, stdin=None):
        monkeypatch.setattr(sys, "argv", ["tinycodec", *map(str, arguments)])
        status = 0
        with ExitStack() as stack:
            if stdin is not None:
                file = stack.enter_context(TemporaryFile())
                file.write(stdin)
                file.seek(0)
                stack.enter_context(descriptor(0, file))
            try:
                main()
            except SystemExit as end:
                status = end.code
        stdout, stderr = capfdbinary.readouterr()
        return SimpleNamespace(status=status, stdout=stdout, stderr=stderr)
    return run


@pytest.fixture(scope="module")
def folder(codec, mnist, tmp_path_factory):
    """A model, digits, a stream, and an object of each kind that is not what it should be."""
    folder = tmp_path_factory.mktemp("files")
    codec.save(folder / "model.npz")
    type(codec)(codec.latent_dims, 1).save(folder / "other.npz")
    digits, many = mnist[1][:10], mnist[1][:1010]          # the latter are two chunks
    write_images(folder / "digits.npy", digits)
    write_images(folder / "digits.idx.gz", digits)
    write_images(folder / "pngs", digits[:3])
    write_images(folder / "digit.png", digits[:1])
    (folder / "mnist").mkdir()
    for file in FILES:
        write_images(folder / "mnist" / file, many[:130])         # two steps an epoch
    (folder / "digits.tnyc").write_bytes(codec.compress(digits))
    (folder / "many.tnyc").write_bytes(codec.compress(many))
    stream = bytearray((folder / "many.tnyc").read_bytes())
    stream[100] ^= 1
    (folder / "damaged.tnyc").write_bytes(stream)
    (folder / "text").write_text("text")
    return folder


@pytest.mark.parametrize("digits, decoded", [("digits.npy", "decoded.npy"), ("digits.idx.gz", "decoded.idx"),
                                             ("pngs", "decoded"), ("digit.png", "decoded.png")])
def test_what_is_compressed_is_decompressed(tinycodec, digits, decoded, codec, folder, tmp_path):
    assert tinycodec("compress", folder / "model.npz", folder / digits, "-o", tmp_path / "stream").status == 0
    done = tinycodec("decompress", folder / "model.npz", tmp_path / "stream", "-o", tmp_path / decoded)
    assert (done.status, done.stdout, done.stderr) == (0, b"", b"")
    images = read_images(folder / digits)
    np.testing.assert_array_equal(read_images(tmp_path / decoded), codec.decompress(codec.compress(images)))


def test_several_inputs_become_one_stream(tinycodec, codec, folder):
    done = tinycodec("compress", folder / "model.npz", folder / "digit.png", folder / "pngs")
    np.testing.assert_array_equal(codec.decompress(done.stdout), codec.decompress(codec.compress(
        np.concatenate([read_images(folder / "digit.png"), read_images(folder / "pngs")]))))


def test_it_works_in_a_pipe(tinycodec, codec, folder, tmp_path):
    stream = tinycodec("compress", folder / "model.npz", "-", stdin=(folder / "digits.npy").read_bytes()).stdout
    assert stream == (folder / "digits.tnyc").read_bytes()
    (tmp_path / "decoded.npy").write_bytes(tinycodec("decompress", folder / "model.npz", stdin=stream).stdout)
    np.testing.assert_array_equal(np.load(tmp_path / "decoded.npy"), codec.decompress(stream))


def test_salvage_says_what_is_lost(tinycodec, codec, folder, tmp_path):
    done = tinycodec("decompress", folder / "model.npz", folder / "damaged.tnyc", "--salvage", "-o", tmp_path / "decoded.npy")
    assert done.status == 2
    assert done.stderr.decode() == (f"tinycodec: {folder / 'damaged.tnyc'}: 1 of 2 chunks damaged: 0 (images 0 to 999); "
                                    "lost, and black in the output, are 1000 of 1010 images\n")
    np.testing.assert_array_equal(np.load(tmp_path / "decoded.npy")[1000:],
                                  codec.decompress((folder / "many.tnyc").read_bytes())[1000:])


def test_salvage_is_not_silent_about_bytes_that_do_not_belong_there(tinycodec, folder, tmp_path):
    stream = (folder / "digits.tnyc").read_bytes()
    done = tinycodec("decompress", folder / "model.npz", "-", "--salvage", "-o", tmp_path / "decoded.npy", stdin=2 * stream)
    assert done.status == 2 and len(read_images(tmp_path / "decoded.npy")) == 10
    assert f"expected {len(stream)} bytes, got {2 * len(stream)}; lost, and black in the output, are 0 of 10 images" in done.stderr.decode()


def test_info_explains_streams_and_which_model_they_need(tinycodec, codec, folder):
    done = tinycodec("info", folder / "many.tnyc", folder / "other.npz", folder / "model.npz")
    text = done.stdout.decode()
    for words in ("1,010 images", "bits an image", "quantizer round, seed 0", "chunks: 2, all intact", "20 latents",
                  f"fingerprint {fingerprint(codec).hex()}: {folder / 'model.npz'}"):
        assert words in text
    assert "chunks: 2, 1 of 2 chunks damaged: 0 (images 0 to 999)" in tinycodec("info", folder / "damaged.tnyc").stdout.decode()


def test_info_names_every_model_that_fits(tinycodec, codec, folder, tmp_path):
    codec.save(tmp_path / "copy.npz")
    done = tinycodec("info", folder / "model.npz", tmp_path / "copy.npz", folder / "digits.tnyc")
    assert f"{folder / 'model.npz'}, {tmp_path / 'copy.npz'}" in done.stdout.decode()


@pytest.mark.parametrize("name", ["model.npz", "model", 255 * "m", 127 * "м" + "."])
def test_training_writes_a_model_and_leaves_no_checkpoint(name, tinycodec, mnist, tmp_path):
    for file in FILES:
        write_images(tmp_path / file, mnist[1][:10])
    done = tinycodec("train", tmp_path / name, "--data", tmp_path, "--epochs", "1", "--latent-dims", "3")
    assert done.status == 0 and done.stdout == b""
    assert b"3 latents" in tinycodec("info", tmp_path / name).stdout
    assert {path.name for path in tmp_path.iterdir()} == {name, *FILES}


@pytest.mark.parametrize("arguments, message", [
    ("", "the following arguments are required"), ("nonsense", "invalid choice: 'nonsense'"),
    ("compress model.npz", "arguments are required: input"), ("compress missing.npz digits.npy", "No such file"),
    ("compress model.npz missing.npy", "No such file"), ("compress text digits.npy", "text: not a model"),
    ("compress model.npz text", "text: expected an IDX file"),
    ("compress model.npz digits.npy -o missing/stream", "No such file"), ("compress model.npz digits.npy -o pngs", "Is a directory"),
    ("decompress model.npz text", "text: not a tinycodec stream"), ("decompress model.npz damaged.tnyc", "1 of 2 chunks damaged: 0 (images 0 to 999)"),
    ("decompress other.npz digits.tnyc", "written with model"), ("decompress model.npz digits.tnyc -o digit.png", "for one image, .png, to write 10 images to"),
    ("decompress model.npz digits.tnyc -o pngs", "expected an empty folder"), ("decompress model.npz digits.tnyc -o out.jpg", "out.jpg: expected a folder, or a name that ends in .npy"),
    ("decompress model.npz digits.tnyc -o text", "text: expected a folder, or a name that ends in .npy"),
    ("compress model.npz digit.png -o ./model.npz", "model.npz: expected a new name, or a file to replace that begins with b'tn'"),
    ("compress model.npz pngs -o pngs/0.png", "0.png: expected a new name"), ("compress model.npz text -o out", "text: expected an IDX"),
    ("train digits.npy --data mnist", "digits.npy: expected a new name"),
    ("decompress model.npz digits.tnyc -o digits.tnyc", "digits.tnyc: expected a folder, or a name that ends in"),
    ("train pngs --data mnist", "pngs: expected the name of a file"), ("train missing/model.npz --data mnist", "No such file or directory: 'missing/model.npz.checkpoint'"),
    ("train - --data mnist", "-: expected the name of a file"), ("train missing/ --data mnist", "missing/: expected the name of a file"), ("train /dev/null --data mnist", "/dev/null: expected the name of a file"),
    ("train model.npz --data mnist --epochs 1 --lmbda 1e300", "the loss is "),
    ("info text", "text: not a tinycodec stream"), ("train model.npz --data mnist --epochs 0", "expected epochs, a positive integer"),
    ("train model.npz --data missing", "in missing, which is no folder"), ("train model.npz --data .", "neither train-images")])
def test_an_error_is_one_line_and_exit_status_2(arguments, message, folder, tinycodec, monkeypatch):
    monkeypatch.chdir(folder)
    done = tinycodec(*arguments.split())
    assert (done.status, done.stdout) == (2, b"") and message in done.stderr.decode() and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", ["train", "compress", "decompress", "info"])
def test_help_has_an_example_and_can_be_written_in_ascii(command, tinycodec):
    done = tinycodec(command, "--help")
    assert done.status == 0 and f"example: python -m tinycodec {command} " in " ".join(done.stdout.decode("ascii").split())


@pytest.mark.parametrize("arguments", ["info model.npz", "decompress model.npz digits.tnyc", "--help", "train --help"])
@pytest.mark.parametrize("output", ["full", "closed", "broken pipe"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_output_that_nobody_takes_is_an_error_in_one_line(arguments, output, folder, tinycodec, monkeypatch):
    monkeypatch.chdir(folder)
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full, open(writer, "wb") as pipe:
        with descriptor(1, {"full": full, "closed": None, "broken pipe": pipe}[output]):
            done = tinycodec(*arguments.split())
    assert done.status == 2 and done.stderr.startswith(b"tinycodec: [Errno ") and done.stderr.endswith(b": '-'\n")


def test_closed_input_is_an_error_in_one_line(tinycodec, folder):
    with descriptor(0, None):
        done = tinycodec("compress", folder / "model.npz", "-")
    assert (done.status, done.stderr) == (2, b"tinycodec: [Errno 9] Bad file descriptor: '-'\n")


@pytest.mark.parametrize("command, status", [("train model.npz --epochs 1 --data . 2>/dev/full", 0),
                                             ("decompress model.npz damaged.tnyc --salvage 2>&-", 2)])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_without_standard_error_the_work_is_done_and_the_status_is_right(command, status, mnist, folder, tmp_path):
    for name in ("model.npz", "damaged.tnyc"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for name in FILES:
        write_images(tmp_path / name, mnist[1][:10])
    done = subprocess.run(["bash", "-c", f"{sys.executable} -m tinycodec {command}"], capture_output=True, cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""})
    assert done.returncode == status
    if status:
        assert len(parse_images(done.stdout, "output")) == 1010        # and nothing else


def test_an_interruption_is_one_line_for_all_commands(folder, tinycodec, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinycodec.Codec.load", interrupt)
    done = tinycodec("compress", "model.npz", "digits.npy")
    assert (done.status, done.stderr) == (130, b"tinycodec: interrupted; what is saved is kept, and a training goes on by the same command\n")


def test_a_file_written_in_place_is_said_in_one_line(folder, tinycodec, monkeypatch, tmp_path):
    def refuse(*paths):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "replace", refuse)
    done = tinycodec("compress", folder / "model.npz", folder / "digits.npy", "-o", tmp_path / "digits\x1b[2J.tnyc")
    assert done.status == 0 and done.stderr.startswith(b"tinycodec: ") and done.stderr.count(b"\n") == 1
    assert b"digits\\x1b[2J.tnyc: written in place" in done.stderr
    assert (tmp_path / "digits\x1b[2J.tnyc").read_bytes() == (folder / "digits.tnyc").read_bytes()


def test_weights_that_overflow_are_an_error_in_one_line(tinycodec, codec, folder, tmp_path):
    large = type(codec)(codec.latent_dims, 1)
    for p in large.g_s.params.values():
        p[...] = 3e38
    large.save(tmp_path / "large.npz")
    stream = tinycodec("compress", tmp_path / "large.npz", folder / "digit.png")
    done = tinycodec("decompress", tmp_path / "large.npz", stdin=stream.stdout)
    assert done.status == 2 and done.stdout == b""
    assert done.stderr == b"tinycodec: -: expected finite pixels, got others: the model's weights are too large\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_info_reads_pipes(tinycodec, folder, tmp_path):
    expected = tinycodec("info", folder / "model.npz").stdout.partition(b": ")[2]
    assert tinycodec("info", "-", stdin=(folder / "model.npz").read_bytes()).stdout == b"-: " + expected
    os.mkfifo(tmp_path / "pipe")
    writer = Thread(target=lambda: (tmp_path / "pipe").write_bytes((folder / "model.npz").read_bytes()), daemon=True)
    writer.start()
    assert tinycodec("info", tmp_path / "pipe").stdout.partition(b": ")[2] == expected
    writer.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_decompress_writes_to_pipes(tinycodec, codec, folder, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    assert tinycodec("decompress", folder / "model.npz", folder / "digits.tnyc", "-o", tmp_path / "pipe").status == 0
    reader.join()
    np.testing.assert_array_equal(parse_images(*read, "a"), codec.decompress((folder / "digits.tnyc").read_bytes()))


@pytest.mark.parametrize("arguments", [["info", "NAME"], ["info", "missingNAME"], ["compress", "model.npz", "NAME"], ["train", "--data", "mnist", "NAME"],
                                       ["decompress", "model.npz", "NAME"], ["decompress", "model.npz", "digits.tnyc", "-o", "NAME"]])
def test_names_cannot_write_to_the_terminal(arguments, tinycodec, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    name = "\x1b[2Jred\n.tnyc"
    stream = bytearray((folder / "many.tnyc").read_bytes())
    stream[50] ^= 1
    Path(name).write_bytes(stream)
    done = tinycodec(*(argument.replace("NAME", name) for argument in arguments))
    text = done.stdout + done.stderr
    assert b"\x1b" not in text and b"\\x1b[2Jred\\n.tnyc" in text and done.stderr.count(b"\n") == bool(done.status)


def test_streams_of_very_many_images_are_refused_unless_one_says_so(tinycodec, codec, folder, tmp_path):
    silent = container.pack("round", 0, 200_000, fingerprint(codec), [b""] * 200)
    (tmp_path / "many.tnyc").write_bytes(silent)
    done = tinycodec("decompress", folder / "model.npz", tmp_path / "many.tnyc")
    assert done.status == 2 and b"stream of 200000 images: expected at most 100000; max_images (--max-images) may allow more" in done.stderr
    assert b"a stream of 200,000 images" in tinycodec("info", "--max-images", "200000", tmp_path / "many.tnyc").stdout

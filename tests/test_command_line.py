import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tinycodec.files import stream as container
from tinycodec.__main__ import main
from tinycodec.files.checkpoint import fingerprint
from tinycodec.files.images import read_images, write_images

ROOT = Path(__file__).parent.parent


def tinycodec(*arguments, input=b""):
    """Run the command line in this process, which spares half a second -> (returncode, stdout, stderr), with bytes."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(input)
        files[0].seek(0)
        for fd, file in enumerate(files):
            saved = os.dup(fd)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, fd)
            os.dup2(file.fileno(), fd)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sys, "argv", ["tinycodec", *map(str, arguments)])
        patch.setattr(sys, "stdout", stack.enter_context(open(1, "w", closefd=False)))
        patch.setattr(sys, "stderr", stack.enter_context(open(2, "w", closefd=False)))
        try:
            returncode = main() or 0
        except SystemExit as end:
            returncode = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        for file in files[1:]:
            file.seek(0)
        return SimpleNamespace(returncode=returncode, stdout=files[1].read(), stderr=files[2].read())


@pytest.fixture(scope="module")
def folder(codec, mnist, tmp_path_factory):
    """A model, digits, a stream, and an object of each kind that is not what it should be."""
    folder = tmp_path_factory.mktemp("files")
    codec.save(folder / "model.npz")
    type(codec)(codec.latent_dims, 1).save(folder / "other.npz")
    digits = mnist[1][:1500]
    write_images(folder / "digits.npy", digits)
    write_images(folder / "digits.idx.gz", digits)
    write_images(folder / "pngs", digits[:3])
    write_images(folder / "digit.png", digits[:1])
    (folder / "digits.tnyc").write_bytes(codec.compress(digits))
    stream = bytearray((folder / "digits.tnyc").read_bytes())
    stream[100] ^= 1
    (folder / "damaged.tnyc").write_bytes(stream)
    (folder / "text").write_text("text")
    return folder


@pytest.mark.parametrize("digits, decoded", [("digits.npy", "decoded.npy"), ("digits.idx.gz", "decoded.idx"),
                                             ("pngs", "decoded"), ("digit.png", "decoded.png")])
def test_what_is_compressed_is_decompressed(digits, decoded, codec, folder, tmp_path):
    assert tinycodec("compress", folder / "model.npz", folder / digits, "-o", tmp_path / "stream").returncode == 0
    done = tinycodec("decompress", folder / "model.npz", tmp_path / "stream", "-o", tmp_path / decoded)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    images = read_images(folder / digits)
    np.testing.assert_array_equal(read_images(tmp_path / decoded), codec.decompress(codec.compress(images)))


def test_several_inputs_become_one_stream(codec, folder):
    done = tinycodec("compress", folder / "model.npz", folder / "digit.png", folder / "pngs")
    np.testing.assert_array_equal(codec.decompress(done.stdout), codec.decompress(codec.compress(
        np.concatenate([read_images(folder / "digit.png"), read_images(folder / "pngs")]))))


def test_it_works_in_a_pipe(codec, folder, tmp_path):
    stream = tinycodec("compress", folder / "model.npz", "-", input=(folder / "digits.npy").read_bytes()).stdout
    assert stream == (folder / "digits.tnyc").read_bytes()
    (tmp_path / "decoded.npy").write_bytes(tinycodec("decompress", folder / "model.npz", input=stream).stdout)
    np.testing.assert_array_equal(np.load(tmp_path / "decoded.npy"), codec.decompress(stream))


def test_salvage_says_what_is_lost(codec, folder, tmp_path):
    done = tinycodec("decompress", folder / "model.npz", folder / "damaged.tnyc", "--salvage", "-o", tmp_path / "decoded.npy")
    assert done.returncode == 2
    assert done.stderr.decode() == (f"tinycodec: {folder / 'damaged.tnyc'}: damaged are 1 of 2 chunks: 0 (images 0 to 999); "
                                    "lost, and black in the output, are 1000 of 1500 images\n")
    np.testing.assert_array_equal(np.load(tmp_path / "decoded.npy")[1000:],
                                  codec.decompress((folder / "digits.tnyc").read_bytes())[1000:])


def test_salvage_is_not_silent_about_bytes_that_do_not_belong_there(folder, tmp_path):
    stream = (folder / "digits.tnyc").read_bytes()
    done = tinycodec("decompress", folder / "model.npz", "-", "--salvage", "-o", tmp_path / "decoded.npy", input=2 * stream)
    assert done.returncode == 2 and len(read_images(tmp_path / "decoded.npy")) == 1500
    assert f"expected {len(stream)} bytes, got {2 * len(stream)}; lost, and black in the output, are 0 of 1500" in done.stderr.decode()


def test_info_explains_streams_and_which_model_they_need(codec, folder):
    done = tinycodec("info", folder / "digits.tnyc", folder / "other.npz", folder / "model.npz")
    text = done.stdout.decode()
    for words in ("1,500 images", "bits an image", "quantizer round, seed 0", "chunks: 2, all intact", "20 latents",
                  f"fingerprint {fingerprint(codec).hex()}: {folder / 'model.npz'}"):
        assert words in text
    assert "chunks: 2, damaged are 1 of 2 chunks: 0 (images 0 to 999)" in tinycodec("info", folder / "damaged.tnyc").stdout.decode()


def test_info_names_every_model_that_fits(codec, folder, tmp_path):
    codec.save(tmp_path / "copy.npz")
    done = tinycodec("info", folder / "model.npz", tmp_path / "copy.npz", folder / "digits.tnyc")
    assert f"{folder / 'model.npz'}, {tmp_path / 'copy.npz'}" in done.stdout.decode()


def test_training_writes_a_model_and_leaves_no_checkpoint(mnist, tmp_path):
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        write_images(tmp_path / name, mnist[1][:200])
    done = tinycodec("train", tmp_path / "model.npz", "--data", tmp_path, "--epochs", "1", "--latent-dims", "3")
    assert done.returncode == 0 and done.stdout == b""
    assert b"3 latents" in tinycodec("info", tmp_path / "model.npz").stdout
    assert not list(tmp_path.glob("*.checkpoint"))


@pytest.mark.parametrize("arguments, message", [
    ("", "the following arguments are required"), ("nonsense", "invalid choice: 'nonsense'"),
    ("compress model.npz", "arguments are required: input"), ("compress missing.npz digits.npy", "No such file"),
    ("compress model.npz missing.npy", "No such file"), ("compress text digits.npy", "text: not a model"),
    ("compress model.npz text", "text: expected an IDX file"),
    ("compress model.npz digits.npy -o missing/stream", "No such file"), ("compress model.npz digits.npy -o pngs", "Is a directory"),
    ("decompress model.npz text", "text: not a tinycodec stream"), ("decompress model.npz damaged.tnyc", "damaged are 1 of 2 chunks: 0 (images 0 to 999)"),
    ("decompress other.npz digits.tnyc", "written with model"), ("decompress model.npz digits.tnyc -o digit.png", "for one image, .png, to write 1500 images to"),
    ("decompress model.npz digits.tnyc -o pngs", "expected an empty folder"), ("decompress model.npz digits.tnyc -o out.jpg", "out.jpg: expected a folder, or a name that ends in .npy"),
    ("decompress model.npz digits.tnyc -o text", "text: expected a folder, or a name that ends in .npy"),
    ("compress model.npz digit.png -o ./model.npz", "model.npz: expected a new name, or a file to replace that begins with b'tn'"),
    ("compress model.npz pngs -o pngs/0.png", "0.png: expected a new name"), ("compress model.npz text -o out", "text: expected an IDX"),
    ("decompress model.npz digits.tnyc -o /dev/null", "/dev/null: expected a folder"), ("train digits.npy", "digits.npy: expected a new name"),
    ("decompress model.npz digits.tnyc -o digits.tnyc", "digits.tnyc: expected a folder, or a name that ends in"),
    ("train pngs", "expected the name of a file, in a folder that can be written to"), ("train missing/model.npz", "in a folder that can"), ("train missing/", "in a folder that can"),
    ("train model.npz --epochs 1 --lmbda 1e300", "the loss is "),
    ("info text", "text: not a tinycodec stream"), ("train model.npz --epochs 0", "expected epochs, a positive integer"),
    ("train model.npz --data missing", "no folder missing"), ("train model.npz --data .", "neither train-images")])
def test_an_error_is_one_line_and_exit_status_2(arguments, message, folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["tinycodec", *arguments.split()])
    with pytest.raises(SystemExit, match="2"):
        main()
    out, err = capfd.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


@pytest.mark.parametrize("command", ["train", "compress", "decompress", "info"])
def test_help_has_an_example(command, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["tinycodec", command, "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert f"example: python -m tinycodec {command} " in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize("arguments", ["info model.npz", "decompress model.npz digits.tnyc"])
@pytest.mark.parametrize("output", ["/dev/full", "closed", "broken pipe"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_output_that_nobody_takes_is_an_error_in_one_line(arguments, output, folder):
    where = {"/dev/full": "> /dev/full", "closed": ">&-", "broken pipe": "| true"}[output]
    command = f"set -o pipefail; {{ sleep 0.2; {sys.executable} -m tinycodec {arguments}; }} {where}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=folder,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""})
    assert done.returncode == 2 and done.stderr.startswith(b"tinycodec: ") and done.stderr.count(b"\n") == 1


def test_closed_input_is_an_error_in_one_line(folder):
    done = subprocess.run(["bash", "-c", f"{sys.executable} -m tinycodec compress model.npz - <&-"], capture_output=True,
                          cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2 and done.stderr == b"tinycodec: [Errno 9] Bad file descriptor\n"


def test_messages_do_not_get_into_the_data_when_standard_error_is_closed(codec, folder, tmp_path):
    command = f"{sys.executable} -m tinycodec decompress model.npz damaged.tnyc --salvage > {tmp_path}/a.npy 2>&-"
    subprocess.run(["bash", "-c", command], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert len(read_images(tmp_path / "a.npy")) == 1500


def test_help_can_be_written_in_ascii():
    done = subprocess.run([sys.executable, "-m", "tinycodec", "compress", "--help"], capture_output=True, cwd=ROOT,
                          env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and b"28x28 grey images" in done.stdout


def test_weights_that_overflow_are_an_error_in_one_line(codec, folder, tmp_path):
    large = type(codec)(codec.latent_dims, 1)
    for p in large.g_s.params.values():
        p[...] = 3e38
    large.save(tmp_path / "large.npz")
    stream = tinycodec("compress", tmp_path / "large.npz", folder / "digit.png")
    done = tinycodec("decompress", tmp_path / "large.npz", input=stream.stdout)
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr == b"tinycodec: -: expected finite pixels, got others: the model's weights are too large\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_info_reads_pipes(folder, tmp_path):
    expected = tinycodec("info", folder / "model.npz").stdout.partition(b": ")[2]
    assert tinycodec("info", "-", input=(folder / "model.npz").read_bytes()).stdout == b"-: " + expected
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cp", folder / "model.npz", tmp_path / "pipe"]):
        assert tinycodec("info", tmp_path / "pipe").stdout.partition(b": ")[2] == expected


def test_names_cannot_write_to_the_terminal(folder, tmp_path):
    name = "\x1b[2Jred\n.tnyc"
    (tmp_path / name).write_bytes((folder / "digits.tnyc").read_bytes())
    done = tinycodec("info", tmp_path / name)
    assert b"\x1b" not in done.stdout and b"\\x1b[2Jred\\n.tnyc: a stream of 1,500 images" in done.stdout
    for arguments in (("info", "missing" + name), ("compress", folder / "model.npz", tmp_path / name)):
        done = tinycodec(*arguments)
        assert b"\x1b" not in done.stderr and b"\\x1b[2Jred" in done.stderr and done.stderr.count(b"\n") == 1


def test_a_system_that_starts_no_thread_is_an_error_in_one_line(folder, monkeypatch, capfd):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", start)
    monkeypatch.setattr(sys, "argv", ["tinycodec", "compress", str(folder / "model.npz"), str(folder / "digit.png")])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capfd.readouterr().err == "tinycodec: can't start new thread\n"


def test_streams_of_very_many_images_are_refused_unless_one_says_so(codec, folder, tmp_path):
    silent = container.pack("round", 0, 200_000, fingerprint(codec), [b""] * 200)
    (tmp_path / "many.tnyc").write_bytes(silent)
    done = tinycodec("decompress", folder / "model.npz", tmp_path / "many.tnyc")
    assert done.returncode == 2 and b"stream of 200000 images: expected at most 100000" in done.stderr
    assert b"a stream of 200,000 images" in tinycodec("info", "--max-images", "200000", tmp_path / "many.tnyc").stdout

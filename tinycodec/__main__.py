"""The command line:    python -m tinycodec train | compress | decompress | info    (each has --help)"""
import argparse
import os
import signal
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")       # see tinycodec.parallel
if __name__ == "__main__":
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)           # Ctrl-C during the imports: no traceback

import numpy as np

import tinycodec as tc
from tinycodec import container, imagefiles
from tinycodec.files import write_file


def main():
    with errors_in_one_line("tinycodec"):
        args = parse_arguments()
        args.command(args)


@contextmanager
def errors_in_one_line(program):
    """End with one line on standard error and exit status 2, after Ctrl-C with 130: never with a traceback."""
    warnings.simplefilter("ignore")            # of overflows, old file formats: what is wrong in the end is an error
    sys.stderr = sys.stderr or open(os.devnull, "w")      # else print(file=None) would write into our data
    try:
        yield
    except KeyboardInterrupt as interrupt:
        print(": ".join([program, "interrupted", *interrupt.args]), file=sys.stderr)
        sys.exit(130)
    except (OSError, ValueError, FloatingPointError, MemoryError) as error:
        print(f"{program}:", str(error).replace("\n", " ") or type(error).__name__, file=sys.stderr)
        sys.exit(2)


def train(args):
    train_images, _ = tc.load_mnist(args.data)
    train_to_file(args.model, train_images, args)


def train_to_file(path, images, args):
    """Train a new codec and save it. A training that was interrupted is gone on with."""
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{path}: expected the name of a file to write, got that of a folder or device")
    checkpoint = Path(f"{path}.checkpoint")
    codec = tc.Codec(args.latent_dims, args.seed)
    try:
        history = tc.train(codec, images, args.lmbda, args.epochs, seed=args.seed, checkpoint=checkpoint)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on after the last finished epoch") from None
    codec.save(path)
    checkpoint.unlink(missing_ok=True)
    return codec, history


def compress(args):
    check_output(args.output, args.model, *args.input)
    images = np.concatenate([imagefiles.parse_images(read_stdin(), "standard input") if name == "-"
                             else imagefiles.read_images(name) for name in args.input])
    data = tc.Codec.load(args.model).compress(images, args.quantizer, lmbda=args.lmbda, refine=args.refine)
    if args.output == "-":
        write_to_stdout(data)
    else:
        write_file(args.output, data)


def decompress(args):
    check_output(args.output, args.model, args.stream)
    codec = tc.Codec.load(args.model)
    data = read_stdin() if args.stream == "-" else Path(args.stream).read_bytes()
    images, lost = codec.salvage(data) if args.salvage else (codec.decompress(data), [])
    if args.output == "-":
        write_to_stdout(imagefiles.encode_images(images, ".npy"))
    else:
        imagefiles.write_images(args.output, images)
    if lost:
        print(f"{len(lost)} of {len(images)} images are lost, and black in the output: "
              + container.unpack(data, salvage=True).damage, file=sys.stderr)
        sys.exit(1)


def check_output(output, *inputs):
    inputs = [path for name in inputs for path in (name, *imagefiles.image_files(name))]
    if output != "-" and os.path.realpath(output) in map(os.path.realpath, inputs):
        raise ValueError(f"{output}: expected another name for the output than for an input")


def read_stdin():
    if sys.stdin is None:
        raise ValueError("standard input is closed, expected a pipe or a file")
    return sys.stdin.buffer.read()


def write_to_stdout(data):
    """Write bytes, or text."""
    if sys.stdout is None or isinstance(data, bytes) and sys.stdout.isatty():
        raise ValueError("standard output is closed or a terminal, expected a pipe or a file: use -o")
    # Not sys.stdout.write: that would try again at exit to write what a closed pipe or a full disk refused.
    with open(sys.stdout.fileno(), "wb", closefd=False) as file:
        file.write(data if isinstance(data, bytes) else data.encode(sys.stdout.encoding, "replace"))


def info(args):
    text, models, streams, errors = "", {}, {}, []
    for name in args.file:
        data = Path(name).read_bytes()
        try:
            if data.startswith(b"PK"):
                codec = tc.Codec.load(name)
                fingerprint = codec.fingerprint()
                models.setdefault(fingerprint, []).append(name)
                text += (f"{name}: a model with {codec.latent_dims} latents and "
                         f"{sum(p.size for p in codec.params.values()):,} parameters, fingerprint {fingerprint.hex()}\n")
            else:
                streams[name] = len(data), container.unpack(data, salvage=True)
        except ValueError as error:
            errors.append(str(error) if data.startswith(b"PK") else f"{name}: {error}")
    for name, (size, stream) in streams.items():
        text += (f"{name}: a stream of {stream.n:,} images in {size:,} bytes, {8 * size / max(stream.n, 1):.2f} bits an image\n"
                 f"    quantizer {stream.quantizer}" + f" with seed {stream.seed}" * (stream.quantizer == "dither") + "\n"
                 f"    chunks: {len(stream.chunks)}, {stream.damage or 'all intact'}\n"
                 f"    decodes with the model of fingerprint {stream.fingerprint.hex()}: "
                 + ", ".join(models.get(stream.fingerprint, ["none of these files"])) + "\n")
    write_to_stdout(text)
    if errors:
        raise ValueError("; ".join(errors))


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help explains)".replace("\n", " ") + "\n")

    def print_help(self, file=None):
        write_to_stdout(self.format_help())


def parse_arguments():
    parser = Parser(prog="python -m tinycodec", description="Compress digits: a learned image codec in NumPy.",
                    epilog="each command has its own --help, with an example")
    commands = parser.add_subparsers(required=True, metavar="train | compress | decompress | info")

    def add(function, description, example):
        command = commands.add_parser(function.__name__, description=description, help=description,
                                      epilog=f"example: python -m tinycodec {example}")
        command.set_defaults(command=function)
        return command

    command = add(train, "Train a model; a training that was interrupted goes on after its last finished epoch.",
                  "train model.npz --epochs 5")
    command.add_argument("model", help="file to write, or replace; until then, MODEL.checkpoint holds what is done")
    add_training_options(command, epochs=15)

    command = add(compress, "Compress images into a stream.", "compress model.npz digits/ -o digits.tnyc")
    command.add_argument("model", help="file that train wrote")
    command.add_argument("input", nargs="+", help=f"28×28 grey images: {imagefiles.KINDS}, in the order of "
                         "their names; - is standard input")
    command.add_argument("-o", "--output", default="-", help="stream to write (default: standard output)")
    command.add_argument("--quantizer", choices=container.QUANTIZERS, default="round", help="default round")
    command.add_argument("--refine", type=int, default=0, metavar="N", help="search N times for cheaper or better integers, "
                         "of less rate + lmbda * distortion")
    command.add_argument("--lmbda", type=float, help="for --refine")

    command = add(decompress, "Decompress a stream.", "decompress model.npz digits.tnyc -o digits.npy")
    command.add_argument("model", help="the one that the stream was compressed with")
    command.add_argument("stream", nargs="?", default="-", help="file that compress wrote (default: standard input)")
    command.add_argument("-o", "--output", default="-", help="name.npy, name.png for one image, name.idx, name.idx.gz, or "
                         "a folder for PNG files (default: .npy to standard output)")
    command.add_argument("--salvage", action="store_true", help="of a damaged stream, write what is left (and "
                         "exit with status 1 if images are lost)")

    command = add(info, "Explain streams and models, and say which stream needs which model.", "info model.npz digits.tnyc")
    command.add_argument("file", nargs="+", help="streams and models")
    return parser.parse_args()


def add_training_options(parser, epochs):
    parser.add_argument("--epochs", type=int, default=epochs, help=f"passes over the training digits (default {epochs})")
    parser.add_argument("--lmbda", type=float, default=2000, help="loss = rate + lmbda * distortion (default 2000)")
    parser.add_argument("--latent-dims", type=int, default=50, help="number of latents (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, noise (default 0)")
    parser.add_argument("--data", help="folder in MNIST's IDX layout (default: the embedded MNIST)")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, on_interrupt)
    main()

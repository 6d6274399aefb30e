"""The command line:    python -m tinycodec train | compress | decompress | info    (each has --help)"""
import argparse
import os
import signal
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import tinycodec as tc
from tinycodec.files.checkpoint import fingerprint, parse
from tinycodec.files.safe import expect_kind, printable, read_file, write_file
from tinycodec.files.stream import MAX_IMAGES, read, unpack


def main():
    with errors_in_one_line("tinycodec"):
        args = parse_arguments()
        args.command(args)


@contextmanager
def errors_in_one_line(program):
    """End with one line on standard error and exit status 2, after Ctrl-C with 130: never with a traceback."""
    def say(message=""):
        try:
            sys.stderr.write(message and printable(f"{program}: {message}") + "\n")
            sys.stderr.flush()
        except Exception:                      # there is none, or it is full: Python would try again at exit
            sys.stderr = None

    warnings.simplefilter("default")           # only our own are shown: overflows are errors in the end
    warnings.showwarning = lambda message, category, *_: category is UserWarning and say(message)
    try:
        yield
        say()
    except KeyboardInterrupt:
        say("interrupted; what is saved is kept, and a training goes on by the same command")
        sys.exit(130)
    except (OSError, ValueError, ArithmeticError, MemoryError, ImportError, RuntimeError) as error:
        say(str(error) or type(error).__name__)
        sys.exit(2)


def train(args):
    """Train a model; a training that was interrupted goes on after its last finished epoch."""
    train_images, _ = tc.load_mnist(args.data)
    train_to_file(args.model, train_images, args.lmbda, args.epochs, args.latent_dims, args.seed)


def train_to_file(model, images, lmbda, epochs, latent_dims=50, seed=0, **options):
    """-> (codec, history). The file `model` then holds the codec; beside it, meanwhile, is a checkpoint."""
    path = Path(model)
    if model == "-" or not os.path.basename(model) or path.exists() and not path.is_file():
        raise ValueError(f"{model}: expected the name of a file")
    expect_kind(path, b"PK")
    checkpoint = path.with_name(os.fsdecode(os.fsencode(path.name)[:244]) + ".checkpoint")     # of 255 bytes at the most
    codec = tc.Codec(latent_dims, seed)
    history = tc.train(codec, images, lmbda, epochs, seed=seed, checkpoint=checkpoint, **options)
    codec.save(path)
    checkpoint.unlink(missing_ok=True)
    return codec, history


def compress(args):
    """Compress images into a stream."""
    write_file(args.output, tc.Codec.load(args.model).compress(tc.read_images(*args.input)))


def decompress(args):
    """Decompress a stream."""
    codec, data = tc.Codec.load(args.model), read_file(args.stream)
    with errors_in_one_line(f"tinycodec: {args.stream}"):
        images, stream = read(codec, data, args.max_images, args.salvage)
    tc.write_images(args.output, images)
    if stream.damage:
        raise ValueError(f"{args.stream}: {stream.damage}; lost, and black in the output, are {len(stream.lost)} of {len(images)} images")


def info(args):
    """Explain streams and models, and say which stream needs which model."""
    text, models, streams = "", {}, {}
    for file in args.file:
        data, name = read_file(file), printable(file)
        if data.startswith(b"PK"):             # a ZIP archive, as .npz files are
            codec = parse(data, file, tc.Codec)
            model = fingerprint(codec)
            models.setdefault(model, []).append(name)
            text += (f"{name}: a model with {codec.latent_dims} latents and {sum(p.size for p in codec.params.values()):,} "
                     f"parameters, fingerprint {model.hex()}\n")
        else:
            with errors_in_one_line(f"tinycodec: {name}"):
                streams[name] = len(data), unpack(data, salvage=True, max_images=args.max_images)
    for name, (size, stream) in streams.items():
        text += (f"{name}: a stream of {stream.n:,} images in {size:,} bytes, {8 * size / max(stream.n, 1):.2f} bits an image\n"
                 f"    quantizer {stream.quantizer}, seed {stream.seed}; chunks: {len(stream.chunks)}, {stream.damage or 'all intact'}\n"
                 f"    decodes with the model of fingerprint {stream.fingerprint.hex()}: "
                 + ", ".join(models.get(stream.fingerprint, ["none of these files"])) + "\n")
    write_file("-", text.encode())


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise ValueError(f"{message} (--help explains)")

    def print_help(self):
        write_file("-", self.format_help().encode())       # argparse would hide that it cannot be written


def parse_arguments():
    parser = Parser(prog="python -m tinycodec", description="Compress digits: a learned image codec in NumPy.",
                    epilog="each command has its own --help, with an example")
    commands = parser.add_subparsers(required=True, metavar="train | compress | decompress | info")

    def add(function, example):
        command = commands.add_parser(function.__name__, description=function.__doc__, help=function.__doc__,
                                      epilog=f"example: python -m tinycodec {example}")
        command.set_defaults(command=function)
        return command

    command = add(train, "train model.npz --epochs 5")
    command.add_argument("model", help="file to write, or replace; until then, MODEL.checkpoint holds what is done")
    add_training_options(command, epochs=15)

    command = add(compress, "compress model.npz digits/ -o digits.tnyc")
    command.add_argument("model", help="file that train wrote")
    command.add_argument("input", nargs="+", help="28x28 grey images: an IDX file (gzipped or not), .npy, PNG, or "
                         "a folder of PNG files, in the order of their names; - is standard input")
    command.add_argument("-o", "--output", default="-", help="stream to write (default: standard output)")

    command = add(decompress, "decompress model.npz digits.tnyc -o digits.npy")
    command.add_argument("model", help="the one that the stream was compressed with")
    command.add_argument("stream", nargs="?", default="-", help="file that compress wrote (default: standard input)")
    command.add_argument("-o", "--output", default="-", help="name.npy, name.png for one image, name.idx, name.idx.gz, or "
                         "a new or empty folder for PNG files (default: .npy to standard output)")
    command.add_argument("--salvage", action="store_true", help="of a damaged stream, write what is left")

    command = add(info, "info model.npz digits.tnyc")
    command.add_argument("file", nargs="+", help="streams and models")
    for name in ("decompress", "info"):
        commands.choices[name].add_argument("--max-images", type=int, default=MAX_IMAGES, metavar="N",
                                            help=f"refuse streams of more (default {MAX_IMAGES})")
    return parser.parse_args()


def add_training_options(parser, epochs):
    parser.add_argument("--epochs", type=int, default=epochs, help=f"passes over the training digits (default {epochs})")
    parser.add_argument("--lmbda", type=float, default=2000, help="loss = rate + lmbda * distortion (default 2000)")
    parser.add_argument("--latent-dims", type=int, default=50, help="number of latents (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, noise (default 0)")
    parser.add_argument("--data", help="folder in MNIST's IDX layout (default: the embedded MNIST)")


if __name__ == "__main__":
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)       # all is done: a Ctrl-C now would only give another status

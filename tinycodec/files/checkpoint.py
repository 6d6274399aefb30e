"""Models in files, and training that can be killed: all that the rest of it depends on, in one model file."""
import hashlib
import io
import json
import os
import zlib

import numpy as np

from .safe import open_archive, read_array, read_file, write_file


def save(path, codec, **more):
    """Write all parameters and σ, and the arrays `more`, to a NumPy .npz file."""
    archive = io.BytesIO()                 # a ZipFile whose disk is full complains again when it is deleted
    try:
        np.savez(archive, latent_dims=np.int64(codec.latent_dims), **codec.params, **{"prior.sigma": codec.sigma}, **more)
    except ValueError as error:            # of a ZipFile that was interrupted (by Ctrl-C, say) and cannot be closed
        raise error.__context__ or error
    write_file(path, archive.getvalue())


def parse(data, file, kind):
    """The bytes of a file, which `save` wrote, and its name -> a codec of class `kind`. ValueError for anything else."""
    with open_archive(data, f"{file}: not a model that tinycodec saved from a {kind.__name__}") as archive:
        codec = kind(int(read_array(archive, "latent_dims", np.int64(0))))
        for name in archive.namelist():
            if name.startswith(("g_a.", "g_s.")) and name.removesuffix(".npy") not in codec.params:
                raise ValueError(f"it has {name.removesuffix('.npy')}, of another layer")
        for name, p in codec.params.items():
            p[...] = read_array(archive, name, p)
        codec.fix_sigma()
        sigma = read_array(archive, "prior.sigma", codec.sigma)
        if not (np.allclose(sigma, codec.sigma, rtol=1e-6, atol=0) and (sigma > 0).all()):
            raise ValueError("expected prior.sigma to be positive, the exponential of prior.log_sigma")
        codec.sigma = sigma
        return codec


def fingerprint(codec):
    """8 bytes that differ between models that decode differently: the first of the SHA-256 of σ, as
    little-endian float64, and of g_s.* and prior.mu as float32, in the order of the model's file."""
    digest = hashlib.sha256(codec.sigma.astype("<f8").tobytes())
    for name, p in codec.params.items():
        if not name.startswith("g_a.") and name != "prior.log_sigma":
            digest.update(p.astype("<f4").tobytes())
    return digest.digest()[:8]


class Checkpoint:
    """A model file (`parse` reads it, too) with the state of Adam and of the random generator.

    `settings`, the images and the weights that `codec` has at the start decide the course of a training,
    so only one in which they are the same may go on from here.
    """

    def __init__(self, path, codec, images, adam, rng, settings):
        self.path, self.codec, self.rng = path, codec, rng
        self.adam, self.moments = adam, {f"adam.{letter}.{name}": a for name, (_, m, v) in adam.state.items()
                                         for letter, a in (("m", m), ("v", v))}
        settings = {"latent_dims": codec.latent_dims} | settings | {
            "images": f"{len(images)}, CRC-32 {zlib.crc32(images.tobytes()):08x}",
            "initial weights": f"CRC-32 {zlib.crc32(b''.join(p.tobytes() for p in codec.params.values())):08x}"}
        self.settings = json.loads(json.dumps(settings, default=float))     # NumPy's numbers -> Python's
        self.last = None                       # its checksum when this training read or wrote it

    def save(self, history):
        """Raises ValueError, and writes nothing, if another training has changed the file since `restore` or `save`."""
        if self._file() != self.last:
            raise ValueError(f"{self.path}: another training writes this checkpoint; it goes on, this one ends")
        self.codec.fix_sigma()
        state = json.dumps({"settings": self.settings, "rng": self.rng.bit_generator.state})
        save(self.path, self.codec, training=np.array(state), history=np.reshape(history, (-1, 3)), **self.moments)
        self.last = self._file()

    def restore(self, steps):
        """Set all to what `save` saved; returns the history, of at most `steps` steps. If there is no file yet, it
        is written: a disk that is full is better known now than after an epoch.

        Raises ValueError if the file is damaged, or of a training with other settings.
        """
        if not os.path.exists(self.path):
            self.save([])
            return []
        data = read_file(self.path)            # once: another training may replace it meanwhile
        self.last = zlib.crc32(data)
        with open_archive(data, f"{self.path}: not the checkpoint of this training; go on with that, from a new Codec, or delete it") as archive:
            state = json.loads(str(read_array(archive, "training")))
            for name, value in self.settings.items():
                if state["settings"][name] != value:
                    raise ValueError(f"its {name}: {state['settings'][name]}, here: {value}")
            history = read_array(archive, "history", most=24 * steps)
            if (history.dtype != np.float64 or history.shape[1:] != (3,) or not np.isfinite(history).all()
                    or len(history) not in range(0, steps + 1, steps // self.settings["epochs"])):
                raise ValueError(f"expected a history of whole epochs, float64 ({steps}, 3) at most, got {history.dtype} {history.shape}")
            arrays = self.codec.params | self.moments
            saved = {name: read_array(archive, name, a) for name, a in arrays.items()}
            self.rng.bit_generator.state = state["rng"]
        for name, a in arrays.items():
            a[...] = saved[name]
        self.adam.t = len(history)             # a step is counted once in each
        return [tuple(row) for row in history]

    def _file(self):
        return zlib.crc32(read_file(self.path)) if os.path.exists(self.path) else None

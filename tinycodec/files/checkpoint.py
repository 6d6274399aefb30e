"""Training that can be killed: all that the rest of it depends on, in one file."""
import json
import os
import zlib

import numpy as np

from ..codec import Codec
from .safe import open_archive, read_array, read_file


class Checkpoint:
    """A model file (`Codec.load` reads it, too) with the state of Adam and of the random generator.

    `settings`, the images and the weights that `codec` has at the start decide the course of a training,
    so only one in which they are the same may go on from here.
    """

    def __init__(self, path, codec, images, **settings):
        settings["images"] = f"{len(images)}, CRC-32 {zlib.crc32(images.tobytes()):08x}"
        settings["initial weights"] = f"CRC-32 {zlib.crc32(b''.join(p.tobytes() for p in codec.params.values())):08x}"
        self.path, self.settings = path, json.loads(json.dumps(settings, default=float))     # NumPy's numbers -> Python's
        self.last = None                       # which file it was when this training read or wrote it

    def save(self, codec, adam, rng, history):
        """Raises ValueError, and writes nothing, if another training has changed the file since `restore` or `save`."""
        if self._file() != self.last:
            raise ValueError(f"{self.path}: another training writes this checkpoint; it goes on, this one ends")
        state = json.dumps({"settings": self.settings, "rng": rng.bit_generator.state})
        codec.save(self.path, training=np.array(state), history=np.reshape(history, (-1, 3)), **adam.arrays())
        self.last = self._file()

    def restore(self, codec, adam, rng, steps):
        """Set all to what `save` saved; returns the history, of at most `steps` steps, [] if there is none yet.

        Raises ValueError if the file is damaged, or of a training with other settings.
        """
        self.last = self._file()
        if self.last is None:
            return []
        data = read_file(self.path)            # once: another training may replace it meanwhile
        with open_archive(data, f"{self.path}: not the checkpoint of this training; go on with that, or delete it") as archive:
            state = json.loads(str(read_array(archive, "training")))
            for name, value in self.settings.items():
                if state["settings"][name] != value:
                    raise ValueError(f"its {name}: {state['settings'][name]}, here: {value}")
            history = read_array(archive, "history", most=24 * steps)
            if history.dtype != np.float64 or history.shape[1:] != (3,) or not np.isfinite(history).all():
                raise ValueError(f"expected a history of finite float64 (steps, 3), got {history.dtype} {history.shape}")
            for name, a in adam.arrays().items():
                a[...] = read_array(archive, name, a)
            rng.bit_generator.state = state["rng"]
        for name, p in Codec.parse(data, self.path).params.items():
            codec.params[name][...] = p
        adam.t = len(history)                              # a step is counted once in each
        return [tuple(row) for row in history]

    def _file(self):
        try:
            s = os.stat(self.path)
        except FileNotFoundError:
            return None
        return s.st_ino, s.st_size, s.st_mtime_ns

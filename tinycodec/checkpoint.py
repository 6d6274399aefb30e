"""Training that can be killed: all that the rest of it depends on, in one file."""
import json
import os
import zlib

import numpy as np

from .codec import Codec
from .files import open_archive, read_array


class Checkpoint:
    """A model file (`Codec.load` reads it, too) with the state of Adam and of the random generator.

    `settings`, the images and the weights that `codec` has at the start decide the course of a training,
    so only one in which they are the same may go on from here.
    """

    def __init__(self, path, codec, images, **settings):
        settings["images"] = f"{len(images)}, CRC-32 {zlib.crc32(images.tobytes()):08x}"
        settings["initial weights"] = f"CRC-32 {zlib.crc32(b''.join(p.tobytes() for p in codec.params.values())):08x}"
        self.path, self.settings = path, json.loads(json.dumps(settings, default=float))     # NumPy's numbers -> Python's

    def save(self, codec, adam, rng, history):
        state = json.dumps({"settings": self.settings, "rng": rng.bit_generator.state})
        codec.save(self.path, training=np.array(state), history=np.reshape(history, (-1, 3)), **adam.arrays())

    def restore(self, codec, adam, rng):
        """Set all to what `save` saved; returns the history, [] if there is none yet.

        Raises ValueError if the file is damaged, or of a training with other settings.
        """
        if not os.path.exists(self.path):
            return []
        with open_archive(self.path, "the checkpoint of this training; go on with that, or delete it") as archive:
            state, history = json.loads(str(read_array(archive, "training"))), read_array(archive, "history")
            for name, value in self.settings.items():
                if state["settings"][name] != value:
                    raise ValueError(f"its {name}: {state['settings'][name]}, here: {value}")
            for name, a in adam.arrays().items():
                a[...] = read_array(archive, name, a)
            rng.bit_generator.state = state["rng"]
        for name, p in Codec.load(self.path).params.items():
            codec.params[name][...] = p
        adam.t = len(history)                              # a step is counted once in each
        return [tuple(row) for row in history]

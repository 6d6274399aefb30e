"""What several tests need and is no fixture."""
from contextlib import contextmanager
from unittest.mock import patch

from tinycodec.files.checkpoint import Checkpoint


class Stop(KeyboardInterrupt):
    """A Ctrl-C of ours: a real one is not caught with it."""


@contextmanager
def stopped_after(steps):
    """A training ends with Stop as soon as its checkpoint holds so many steps."""
    def save(self, history):
        original(self, history)
        if len(history) == steps:
            raise Stop

    original = Checkpoint.save
    with patch.object(Checkpoint, "save", save):
        yield

"""Files that can be trusted: streams, models and checkpoints, images, and how all of them are written."""

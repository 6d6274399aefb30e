"""What the codec achieves, and against whom:    python -m tinycodec.experiments"""

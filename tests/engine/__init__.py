"""The engine by itself, over a real store."""

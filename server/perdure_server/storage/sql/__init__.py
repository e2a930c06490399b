"""SQL stores. One schema (`schema.py`), brought up to date by `migrations/`; `sqlite.py` is the embedded store."""

"""What every store must do, in one suite. `bindings.py` names the stores; a new one adds its few lines there."""

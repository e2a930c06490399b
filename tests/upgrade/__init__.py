"""From the last release to this one: its data under this server, and its client against it."""

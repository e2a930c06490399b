"""What deploy/ says is true of the server: options, ports, names, metrics; and its commands run."""

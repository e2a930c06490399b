"""What operators and their monitoring see of a process: Prometheus metrics and HTTP probes."""

"""Between messages and the domain: the only place that knows both."""

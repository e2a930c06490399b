"""Development tools: code generation and its check."""

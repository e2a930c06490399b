"""Bad input, made from the contract's descriptors: every field of every request, wrong in every way."""

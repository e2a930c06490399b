"""The Python SDK against fakes that speak the contract over real gRPC, and on its own."""

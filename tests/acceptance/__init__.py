"""What users may expect, through the gRPC API of a real server process."""

"""Speed and memory of Perdure beside a bare skeleton, measured in the same run."""

import os

# The harness starts processes while channels are open. They exec at once, so gRPC
# need not (and, with its own threads running, cannot) prepare for a fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

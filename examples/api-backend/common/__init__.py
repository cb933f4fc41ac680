"""What both services share: log lines, the client and the server of a private gRPC service."""

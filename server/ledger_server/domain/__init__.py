"""What a ledger does, as plain values and functions: no I/O, no gRPC, no database."""

"""The generated messages and stubs of `ledger.v1`; see protos/generate.py."""

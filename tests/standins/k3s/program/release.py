"""The version that the stand-in says it has; `make` may write another."""

VERSION = "v0.0.0+stand-in"

"""Nodes that run, reached over SSH by the system's own `ssh`.

`way` says how a node is reached and turns it into an argv, `verdict` what a failure means, `session` runs commands and
sends files. Called by `workflow`, for what is done after the first boot.
"""

"""What a node's part in its cluster puts into its image: k3s, its ways in, its firewall, its clock, its upkeep.

Pure. `parts` decides who founds and who joins; every other module turns a `Part` into edits, promises and the names of
packages, and `contents` gathers these for `planning.build`.
"""

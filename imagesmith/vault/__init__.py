"""The vault beside an inventory: keys and passwords drawn once, sealed by age, and an index that says what is there.

draw       what is drawn for a node and for a cluster, by the secret's name
signed     certificates of nodes, by the client authority
sealing    age: sealed for a key, opened by it; passphrases
index      what is in a vault, without opening it; reading and writing index.json
files      closed folders and files, whole or not at all
store      a vault made, changed and opened
backup     all of it as one file
"""

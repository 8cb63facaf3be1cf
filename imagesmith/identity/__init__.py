"""What makes a node itself, and a cluster one: certificates, tokens and host keys, encoded and derived, never drawn.

Keys, serial numbers, passwords and times are given by the caller; the same ones give the same bytes. Called by `vault`
(which draws and seals) and by `workflow`. Touches nothing.

    authorities    the certificate authorities that a k3s cluster is founded with
    certificates   one certificate: of an authority, of a client
    tokens         the hash of a cluster's authorities, join tokens, passwords
    kubeconfig     the file that lets kubectl in
    ssh            host keys, in OpenSSH's words and in Dropbear's, and known_hosts
"""

#!/bin/sh
# Say what apt would install. $1: a chroot with package lists in it and nothing else; run from outside of it.
# Reads .imagesmith/wanted (one apt argument a line), writes .imagesmith/simulated.
set -eu
root=${1:?the chroot}
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
export APT_CONFIG
xargs -d '\n' apt-get --simulate -o APT::Install-Recommends=false install \
    <"$root/.imagesmith/wanted" >"$root/.imagesmith/simulated"

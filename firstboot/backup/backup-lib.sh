# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153 # read by who sources it; STATE comes from lib.sh
# What a node's backup and its restore share: the settings, the way to where backups are kept, statements about them.
# Sourced after lib.sh by backup-node and backup-restore.

BACKUP_CONF=$ROOT/etc/imagesmith/backup.conf
BACKUP_KEYS=$ROOT/etc/imagesmith/backup
BACKUP_STATE=$STATE/backup
BACKUP_STATUS=$BACKUP_STATE/status
# Of the node's own life: made by the first good backup, or by a restore.
BEGUN=$BACKUP_STATE/begun
STAGE=$BACKUP_STATE/stage
DATA=$ROOT/var/lib/rancher/k3s
BOX=$ROOT/run/imagesmith/backup
NAMESPACE=imagesmith-backup

# A file that gets what is said too, where there is one.
LOG=

# say TEXT, give_up TEXT: as those of lib.sh, also where nobody listens any more: a pipe that broke would end this script
# at once, without its EXIT trap. The subshell alone is in its way.
say() {
    [ -z "$LOG" ] || printf '%s %s\n' "$(utc_now)" "$*" >>"$LOG" || true
    { (trap '' PIPE && printf '%s\n' "$*"); } 2>/dev/null || true
}

give_up() {
    say "$@" >&2
    exit 1
}

# wanted KEY [DEFAULT]: a setting of backup.conf, read as those of node.conf are.
wanted() (
    CONF=$BACKUP_CONF
    setting "$@"
)

utc_now() {
    date -u +%Y-%m-%dT%H:%M:%SZ
}

# store WORD...: asks the place where backups are kept; what is sent goes in, what comes is printed.
store() {
    if [ "$(wanted BACKUP_STORE)" = nfs ]; then
        # What is not mounted would be kept on the node's own card.
        folder=$ROOT$(wanted BACKUP_FOLDER)
        stat "$folder/." >/dev/null 2>&1 || true
        if ! mountpoint -q "$folder"; then
            echo "$(wanted BACKUP_WHERE) is not mounted at $folder: journalctl -u 'var-lib-imagesmith-nas.*'" >&2
            return 1
        fi
        "$LIB/imagesmith-receive" "$folder" "$(wanted BACKUP_NODE)" "$@"
        return
    fi
    # The server's key is the inventory's, and nobody is asked anything.
    ssh -F /dev/null -i "$BACKUP_KEYS/key" -p "$(wanted BACKUP_PORT 22)" \
        -o UserKnownHostsFile="$BACKUP_KEYS/known_hosts" -o GlobalKnownHostsFile=/dev/null \
        -o HostKeyAlias=imagesmith-store -o StrictHostKeyChecking=yes -o CheckHostIP=no -o UpdateHostKeys=no \
        -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o ConnectTimeout=20 \
        -o ServerAliveInterval=15 -o ServerAliveCountMax=8 -o ClearAllForwardings=yes -o LogLevel=ERROR \
        -l "$(wanted BACKUP_USER)" -- "$(wanted BACKUP_HOST)" "$*"
}

# why FILE: what a failure of `store` told, in words that help; the last lines of FILE.
why() {
    if grep -qi 'host key verification failed\|identification has changed' "$1"; then
        echo "what answers at $(wanted BACKUP_WHERE) does not have the host_key of the inventory; nothing was sent to it"
    elif grep -qi 'permission denied' "$1"; then
        echo "$(wanted BACKUP_WHERE) does not take this node's key: imagesmith backup authorized-keys prints its line"
    elif grep -qi 'no space left\|disk quota\|file too large' "$1"; then
        echo "there is no room at $(wanted BACKUP_WHERE)$(sed -n 's/^imagesmith-receive: it can.t be written here/&/p' "$1" | sed 's/.*: /: /' | head -n 1)"
    else
        grep -v '^$' "$1" | tail -n 3 | tr '\n' ' ' | cut -c1-300 | sed 's/ $//' | grep . ||
            echo "$(wanted BACKUP_WHERE) does not answer, or the connection broke"
    fi
}

# statement NAME DIGEST SIZE: what is said of a backup, and signed.
statement() {
    printf '%s\n' "imagesmith-backup 1" "name $1" "cluster $(wanted BACKUP_CLUSTER)" "authority $(wanted BACKUP_CA)" \
        "node $(wanted BACKUP_NODE)" "sha256 $2" "bytes $3"
}

# said KEY FILE: a word of a statement.
said() {
    sed -n "/^-----BEGIN/q; s/^$1 //p" "$2" | head -n 1
}

# free_kib FOLDER: what is free there.
free_kib() {
    df -Pk "$1" | awk 'NR == 2 { print $4 }'
}

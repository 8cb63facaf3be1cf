# shellcheck shell=sh
# What the scripts around k3s share: the cluster's settings, the status file, asking servers who they are.
# Sourced after lib.sh by k3s-gate, k3s-start, k3s-settled, imagesmith-apply and steps/80-k3s.

CLUSTER_CONF=$ROOT/etc/imagesmith/cluster.conf
CLUSTER_STATE=$STATE/cluster
STATUS=$CLUSTER_STATE/status
# shellcheck disable=SC2034 # written by k3s-start, read by imagesmith-apply
STARTED=$CLUSTER_STATE/started
RUN=$ROOT/run/imagesmith
CONFIG=$ROOT/etc/rancher/k3s
START_CONFIG=$CONFIG/config.yaml.d/10-start.yaml
DATA=$ROOT/var/lib/rancher/k3s
# shellcheck disable=SC2034 # read by k3s-start and k3s-gate
TLS=$DATA/server/tls
ASK_S=5

# shared KEY [DEFAULT]: a setting of cluster.conf, read as those of node.conf are.
shared() (
    # shellcheck disable=SC2034 # read by setting
    CONF=$CLUSTER_CONF
    setting "$@"
)

k3s_unit() {
    if [ "$(shared CLUSTER_DUTY)" = agent ]; then echo k3s-agent.service; else echo k3s.service; fi
}

# told KEY: what the status file says.
told() {
    sed -n "s/^$1=//p" "$STATUS" 2>/dev/null | tail -n 1
}

utc_now() {
    date -u +%Y-%m-%dT%H:%M:%SZ
}

# tell STATE WAITS_FOR [REASON]: the status file says so, and the journal too; nothing is written when it says so already.
# STATE: waiting (for what WAITS_FOR says), starting, founded, joined. `founded` and `joined` tell when it first was.
# A disk that is full keeps k3s from nothing: it is what makes room again.
tell() {
    reason=$(printf '%s' "${3:-}" | tr '\n\t' '  ')
    [ "$(told state) $(told waits_for) $(told reason)" != "$1 $2 $reason" ] || return 0
    founded=$(told founded)
    joined=$(told joined)
    case $1 in
    founded) founded=${founded:-$(utc_now)} ;;
    joined) joined=${joined:-$(utc_now)} ;;
    esac
    put_file "$STATUS" 0644 "state=$1
waits_for=$2
reason=$reason
since=$(utc_now)
founded=$founded
joined=$joined
server=$(start_server)" || say "$STATUS can't be written"
    say "$1${reason:+: $reason}"
}

# start_server: whom k3s is told to join; nothing where it founds, or stands alone.
start_server() {
    sed -n 's/^server: "\(.*\)"$/\1/p' "$START_CONFIG" 2>/dev/null
}

# has_data: this server has a datastore already, so that nothing is left to decide about founding and joining.
has_data() {
    [ -d "$DATA/server/db" ]
}

# ask URL PATH BODY [AUTHORITY]: the body of what a server answers, into the file BODY. With AUTHORITY, a file of
# certificates, only from a server that shows one which these vouch for; else from whoever is there. Proxies are not
# asked: what they reach is not what this node reaches.
ask() {
    host=${1#https://}
    rm -f "$3"
    if have openssl; then
        set -- "$1" "$2" "$3" "${4:+-CAfile $4 -partial_chain -verify_return_error}"
        # It waits for the server to close, which after a request of HTTP/1.0 it does at once. The words are split on
        # purpose; no path here has a space.
        # shellcheck disable=SC2086
        printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$2" "$host" |
            timeout -k 2 "$ASK_S" openssl s_client -quiet -no-CApath -no-CAstore $4 -connect "$host" >"$3.raw" 2>/dev/null ||
            true
        head -n 1 "$3.raw" | grep -q '^HTTP/1' || return 1
        sed '1,/^\r*$/d' "$3.raw" >"$3"
    elif [ -n "${4:-}" ]; then
        curl -sS --noproxy '*' -m "$ASK_S" --cacert "$4" --capath /nonexistent -o "$3" "$1$2" 2>/dev/null
    else
        curl -sS --noproxy '*' -m "$ASK_S" -k -o "$3" "$1$2" 2>/dev/null
    fi
}

digest() {
    sha256sum | cut -d' ' -f1
}

# authority BUNDLE HASH: of a server's bundle the certificate whose hash its tokens carry, on standard output; fails
# where there is none. The hash is k3s's: of the file where it holds one certificate (or no root), else of the root.
authority() {
    if [ "$(digest <"$1")" = "$2" ]; then
        cat "$1"
        return 0
    fi
    count=$(grep -c -e '-----BEGIN CERTIFICATE-----' "$1") || return 1
    [ "$count" -gt 1 ] && [ "$count" -le 20 ] || return 1
    number=1
    while [ "$number" -le "$count" ]; do
        one=$(awk -v n="$number" '/-----BEGIN/ { i++ } i == n { print } /-----END/ && i == n { exit }' "$1")
        if [ "$(printf '%s\n' "$one" | sed '/-----/d' | tr -d '\r' | base64 -d 2>/dev/null | digest)" = "$2" ]; then
            printf '%s\n' "$one"
            return 0
        fi
        number=$((number + 1))
    done
    return 1
}

# meet URL: what a server is to this node: ours, other (another cluster's), untrue (it shows our certificates and can't
# prove that they are its own), silent. The token's hash is what a server is known by.
meet() {
    mkdir -p "$RUN"
    if ! ask "$1" /cacerts "$RUN/cacerts" || ! grep -qs -e '-----BEGIN CERTIFICATE-----' "$RUN/cacerts"; then
        echo silent
    elif ! authority "$RUN/cacerts" "$(shared CLUSTER_CA_HASH)" >"$RUN/authority"; then
        echo other
    elif ! ask "$1" /ping "$RUN/ping" "$RUN/authority"; then
        echo untrue
    else
        echo ours
    fi
}

# first_server URL...: the first that answers and is ours; else it says why none is, and fails: with 2 where one shows
# our certificates without proof. That may be ours all the same, by a clock that is wrong here or there.
first_server() {
    why=
    failure=1
    for url in "$@"; do
        case $(meet "$url") in
        ours)
            printf '%s\n' "$url"
            return 0
            ;;
        silent) why="$why; $url does not answer" ;;
        other) why="$why; $url is refused: it is another cluster's, or stands between this node and its own" ;;
        untrue)
            why="$why; $url is refused: it shows this cluster's certificates and can't prove that they are its own"
            failure=2
            ;;
        esac
    done
    printf '%s\n' "${why#; }"
    return "$failure"
}

# config_digest: of all that k3s reads when it starts, and of its unit. Tokens are in it: the file that keeps it is 0600.
config_digest() {
    unit=$ROOT/etc/systemd/system/$(k3s_unit)
    for path in "$CLUSTER_CONF" "$CONFIG/config.yaml" "$CONFIG"/config.yaml.d/*.yaml "$CONFIG/registries.yaml" \
        "$ROOT/etc/rancher/node/password" "$DATA/agent/etc/kubelet.conf.d/50-imagesmith.conf" "$unit" "$unit.env"; do
        [ ! -f "$path" ] || printf '%s %s\n' "$(digest <"$path")" "$path"
    done | digest
}

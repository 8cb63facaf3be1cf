# shellcheck shell=sh
# shellcheck disable=SC2153 # BOX and what is wanted come from backup-lib.sh
# How a restore gets at a backup: whose it is, whether all of it is what was signed, what is in it. Whatever is laid
# was read to its end before. Sourced after backup-lib.sh by backup-restore.

# What was read through last: `about` says which backup, by which key; `there` the paths it has; and where there is room
# `archive`, so that it is fetched once. Gone once it is laid, or when this node's next backup begins.
READ=$BACKUP_STATE/read
SPARE_KIB=262144

# known NAME: its statement is there, true and about this node and cluster; sets DIGEST.
known() {
    case $1 in
    */* | .* | *[!A-Za-z0-9._-]*) give_up "this is not a name of a backup" ;;
    esac
    store about "$1" >"$BOX/about" 2>"$BOX/store.err" || give_up "$1: $(why "$BOX/store.err")"
    sed '/^-----BEGIN/,$d' "$BOX/about" >"$BOX/statement"
    sed -n '/^-----BEGIN/,$p' "$BOX/about" >"$BOX/signature"
    [ "$(said node "$BOX/statement")" = "$(wanted BACKUP_NODE)" ] ||
        give_up "$1 is a backup of $(said node "$BOX/statement"), and this is $(wanted BACKUP_NODE)"
    if [ "$(said cluster "$BOX/statement")" != "$(wanted BACKUP_CLUSTER)" ] ||
        [ "$(said authority "$BOX/statement")" != "$(wanted BACKUP_CA)" ]; then
        give_up "$1 is of another cluster ($(said cluster "$BOX/statement")), or of this one before its authorities were" \
            "drawn anew: what it knows fits no other node any more"
    fi
    [ "$(said name "$BOX/statement")" = "$1" ] || give_up "$1 has the statement of another backup"
    ssh-keygen -Y verify -f "$BACKUP_KEYS/signers" -I "$(wanted BACKUP_NODE)" -n "$NAMESPACE" -s "$BOX/signature" \
        <"$BOX/statement" >/dev/null 2>"$BOX/verify.err" ||
        give_up "$1 was not signed by this node's key: somebody else made or changed it, or the vault's" \
            "nodes/$(wanted BACKUP_NODE)/backup-key was drawn anew since (docs/backup.md)"
    DIGEST=$(said sha256 "$BOX/statement")
}

# fetched NAME [FILE]: the tar in it, on standard output; as it came, into FILE. How each part ended is in BOX.
fetched() {
    rm -f "$BOX/failed"
    mkfifo "$BOX/to-digest"
    sha256sum <"$BOX/to-digest" >"$BOX/digest" &
    digesting=$!
    { taken "$1" 2>"$BOX/store.err" || echo store >>"$BOX/failed"; } |
        { tee "$BOX/to-digest" ${2:+"$2"} 2>/dev/null || true; } |
        { opened "$1" 2>"$BOX/age.err" || gone age; } |
        { zstd -q -dc 2>"$BOX/zstd.err" || gone zstd; }
    wait "$digesting"
    rm -f "$BOX/to-digest"
}

# taken NAME: from this card, where all of it was read through before and kept.
taken() {
    if [ -f "$READ/archive" ] && [ -e "$READ/about" ]; then cat "$READ/archive"; else store get "$1"; fi
}

# gone PROGRAM: notes that it failed, and reads to the end in its place: else all before it would seem to fail too.
gone() {
    echo "$1" >>"$BOX/failed"
    cat >/dev/null
}

opened() {
    case $1 in
    *.age) age -d -i "$BOX/identity" ;;
    *) cat ;;
    esac
}

# whole NAME: what was fetched last came to its end, and is what was said.
whole() {
    failed=$(cat "$BOX/failed" 2>/dev/null || true)
    case $failed in
    *store*) give_up "$1: $(why "$BOX/store.err")" ;;
    esac
    [ "$(cut -d' ' -f1 "$BOX/digest")" = "$DIGEST" ] ||
        give_up "$1 is damaged: it is not what this node sent; an older one may be whole: imagesmith backup list"
    case $failed in
    *age*) give_up "$1 can't be opened by the key that was given: $(tail -n 1 "$BOX/age.err")" ;;
    *zstd*) give_up "$1 is damaged: $(tail -n 1 "$BOX/zstd.err")" ;;
    esac
}

# listing NAME: reads it through. Of its names only what is asked: whether one leads out of where it is laid, and which
# of the paths in BOX/paths are there.
listing() {
    spool=
    if has_room; then spool=$READ/archive; fi
    fetched "$1" "$spool" | { tar -t 2>"$BOX/tar.err" || true; cat >/dev/null; } | awk '
        FNR == NR { wanted[$0] = 1; next }
        {
            name = $0
            sub(/\/$/, "", name)
            if ((name != "." && substr(name, 1, 2) != "./") || name ~ /(^|\/)\.\.(\/|$)/) bad = name
            # A path is there where it, or anything in it, is.
            while (name != "" && name != ".") {
                if (name in wanted) there[name] = 1
                if (!sub(/\/[^\/]*$/, "", name)) break
                # Of a folder that is another file system, or whose content was left out, the name alone is there.
                if (name in wanted) there[name "/."] = 1
            }
            count++
        }
        END {
            for (path in there) print path
            if (bad != "") print "!" bad
            if (!count) print "!nothing"
        }' "$BOX/paths" - >"$BOX/there"
    whole "$1"
    bad=$(sed -n 's/^!//p' "$BOX/there")
    [ -z "$bad" ] || give_up "$1 is refused: a name in it leads elsewhere, or it is no backup: $bad"
}

# has_room: to keep it here and still lay it; zstd hardly packs a system's files to less than a sixth.
has_room() {
    bytes=$(said bytes "$BOX/statement")
    case $bytes in '' | *[!0-9]*) return 1 ;; esac
    [ "$(free_kib "$BACKUP_STATE")" -gt $((bytes * 7 / 1024 + SPARE_KIB)) ]
}

# about_it: the backup by its digest, and who opens it by the public half.
about_it() {
    echo "$DIGEST"
    [ ! -s "$BOX/identity" ] || age-keygen -y "$BOX/identity" 2>/dev/null || echo unknown
}

# was_read: this very backup was read through before, for the same paths and by the same key, and what is kept of it here is
# still what it was.
was_read() {
    about_it | cmp -s - "$READ/about" && cmp -s "$BOX/paths" "$READ/paths" || return 1
    [ ! -f "$READ/archive" ] || [ "$(sha256sum <"$READ/archive" | cut -d' ' -f1)" = "$DIGEST" ]
}

# proven NAME: all of it is what was signed, and harmless; sets BOX/there. `known` comes before.
proven() {
    if ! was_read; then
        rm -rf "$READ"
        mkdir -m 0700 "$READ"
        listing "$1"
        # A disk that was full after all has less than all of it.
        if [ -f "$READ/archive" ] && [ "$(wc -c <"$READ/archive")" -ne "$(said bytes "$BOX/statement")" ]; then
            rm -f "$READ/archive"
        fi
        cp "$BOX/paths" "$BOX/there" "$READ/"
        about_it >"$BOX/about-it"
        mv "$BOX/about-it" "$READ/about"
    fi
    cp "$READ/there" "$BOX/there"
}

# Moodle itself, from the address and with the digest of the inventory; nothing where it is there already.
set -eu
program=/imagesmith/volumes/program
# Every time, since this volume may be a new one while the program is the old.
if ! chown www-data:www-data /imagesmith/volumes/data; then
    echo "the storage lets nobody give Moodle's folder to its user: on a NAS that is the export's to allow, see docs/nas.md" >&2
    exit 1
fi
fetched="$program/.imagesmith-release"
if [ -e "$fetched" ] && [ "$(cat "$fetched")" = "$RELEASE_SHA256" ]; then
    exit 0
fi
curl -fsSL --retry 5 --retry-all-errors -o /tmp/release.tgz "$RELEASE_URL"
echo "$RELEASE_SHA256  /tmp/release.tgz" | sha256sum -c -
# Files of a release before must not stay among those of another. config.php is none of either.
find "$program" -mindepth 1 -maxdepth 1 ! -name config.php -exec rm -rf {} +
tar -xzf /tmp/release.tgz -C "$program" --strip-components=1 --no-same-owner
printf '%s\n' "$RELEASE_SHA256" >"$fetched"

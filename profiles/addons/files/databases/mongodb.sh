# All databases, as mongorestore --archive takes them. The password goes by a file, never among the words of a command.
set -eu
umask 077
told=/tmp/dump.$$
trap 'rm -f "$told"' EXIT
printf 'password: "%s"\n' "$MONGO_INITDB_ROOT_PASSWORD" >"$told"
mongodump --config="$told" --username=root --authenticationDatabase=admin --host=127.0.0.1 --archive --quiet

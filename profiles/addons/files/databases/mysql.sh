# All databases, as SQL. The password goes by a variable of this container, never among the words of a command.
set -eu
MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysqldump --user=root --host=127.0.0.1 --all-databases --single-transaction --quick \
    --routines --events --set-gtid-purged=OFF --no-tablespaces

# What Moodle does by and by: mails, statistics, cleaning up. Nothing until somebody has set it up.
set -eu
while :; do
    sleep 60
    php /var/www/html/admin/cli/cron.php >/dev/null || echo "cron.php failed; it is tried again in a minute" >&2
done

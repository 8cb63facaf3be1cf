# Joomla's scheduled tasks; otherwise they would wait for a visitor. Nothing until somebody has set it up.
set -eu
while :; do
    sleep 300
    [ -s /var/www/html/configuration.php ] || continue
    # Its exit code tells of the tasks, and that none was due too.
    php /var/www/html/cli/joomla.php scheduler:run --all --no-interaction >/dev/null || :
done

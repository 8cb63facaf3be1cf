# What WordPress does by and by: posts of tomorrow, updates, mails. Otherwise visitors would start it, by a request of
# WordPress to itself under its host name, which its network policy lets nowhere. WordPress has a lock for several of these.
set -eu
while :; do
    sleep 300
    curl -fsS -m 240 -o /dev/null -H "Host: ${SITE_HOST:-localhost}" http://127.0.0.1/wp-cron.php ||
        echo "wp-cron.php failed; it is tried again in five minutes" >&2
done

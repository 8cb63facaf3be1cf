# Drupal does its work after a visit, every three hours at most (its module Automated Cron); this is a visitor for sites that
# have none. The page is asked for by another name every time, since one from the cache would start nothing.
set -eu
while :; do
    sleep 3600
    curl -fsS -m 600 -o /dev/null -H "Host: ${SITE_HOST:-localhost}" "http://127.0.0.1/?$(date +%s)" ||
        echo "Drupal did not answer; it is tried again in an hour" >&2
done

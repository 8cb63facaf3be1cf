# The volume begins empty, and Drupal wants what its image has there.
set -eu
[ -e /imagesmith/volumes/sites/default ] || cp -a /opt/drupal/web/sites/. /imagesmith/volumes/sites/

#!/bin/sh
# What one would write with curl, jq and oathtool: log in (or take the kept token), trigger a sync, poll each second.
# BASE_URL and SECRETS (a directory) say where; TOKEN_FILE keeps the token; the argument is the sync type.
set -eu
json='Content-Type: application/json'
api() { curl --silent --show-error --fail --max-time 30 "$@"; }

if [ -s "$TOKEN_FILE" ]; then
  token=$(cat "$TOKEN_FILE")
else
  code=$(oathtool --totp --base32 "$(cat "$SECRETS/totp_seed")")
  token=$(jq -n --rawfile u "$SECRETS/username" --rawfile p "$SECRETS/password" --arg c "$code" \
    '{username: ($u | rtrimstr("\n")), password: ($p | rtrimstr("\n")), mfa_code: $c}' |
    api -H "$json" --data @- "$BASE_URL/api/auth/cli/login" | jq -r .access_token)
  (umask 077 && printf %s "$token" >"$TOKEN_FILE")
fi
bearer="Authorization: Bearer $token"

job=$(api -H "$json" -H "$bearer" --data "{\"sync_type\": \"$1\"}" "$BASE_URL/api/sync/cli/trigger" | jq -r .job_id)
while :; do
  status=$(api -H "$bearer" "$BASE_URL/api/sync/cli/status?job_id=$job" | jq -r '.jobs[0].status')
  case $status in
    completed) exit 0 ;;
    failed | cancelled) exit 4 ;;
  esac
  sleep 1
done

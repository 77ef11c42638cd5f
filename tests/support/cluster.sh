#!/bin/sh
# A PostgreSQL server in a temporary folder, for as long as standard input is open: `cluster.sh FOLDER PORT [SETTING…]`.
# Each line of the input is a command of pg_ctl with its arguments (`stop -m immediate`, `start`, `promote`), answered by one
# line: `ok`, or what went wrong. With BASE=host:port it is a replica of that server.
set -u
folder=$1 port=$2
shift 2
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb)") || exit 1

# The server refuses to run as root.
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
fi

mkdir -p "$folder/socket"
[ "$(id -u)" = 0 ] && chown -R postgres:postgres "$folder"
cd "$folder" || exit 1

settings="-p $port -c unix_socket_directories=$folder/socket -c listen_addresses=127.0.0.1 -c max_connections=300"
settings="$settings -c fsync=off -c log_min_messages=warning -c wal_level=replica -c max_wal_senders=4"
for setting in "$@"; do settings="$settings -c $setting"; done

run() { as "$bin/pg_ctl" -w -t 60 -s -D data -l log -o "$settings" "$@" 2>>errors </dev/null; }

if [ -n "${BASE:-}" ]; then
    as "$bin/pg_basebackup" -h "${BASE%:*}" -p "${BASE#*:}" -U cca -D data -R -X stream -c fast 2>errors >&2
else
    as "$bin/initdb" -D data -U cca -A trust -E UTF8 --locale=C --no-sync >/dev/null 2>errors
    echo "host replication all 127.0.0.1/32 trust" >> data/pg_hba.conf
fi
if run start; then echo ok; else cat errors log 2>/dev/null | tr '\n' ' '; echo; fi

while read -r command; do
    # shellcheck disable=SC2086
    if run $command; then echo ok; else tail -3 errors | tr '\n' ' '; echo; fi
done

run stop -m immediate
cd /
rm -rf "$folder"

#!/bin/sh
# Pack each file and folder of FROM into an archive in TO: a shell script that others can watch.
#
#   python -m attune_dsl exec --agent-id backup --stall-after 600 -- sh examples/backup.sh FROM TO
#
# Under exec it says how far it is, and tells the agent "ops" when it is done; without it, it just packs.
set -eu
from=${1:?usage: backup.sh FROM TO}
to=${2:?usage: backup.sh FROM TO}

attune() {
    [ -z "${ATTUNE_AGENT_ID:-}" ] || python -m attune_dsl "$@" >/dev/null
}

mkdir -p "$to"
all=$(find -H "$from" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name __pycache__ | wc -l)
packed=0
for path in "$from"/*; do
    name=$(basename "$path")
    [ -e "$path" ] && [ "$name" != __pycache__ ] || continue
    tar -czf "$to/$name.tar.gz" -C "$from" "$name"
    packed=$((packed + 1))
    attune progress "$((100 * packed / all))%" "packed $name, $packed of $((all))"
done
attune signals send backup_done --target ops --ttl 3600 --payload "{\"archives\": $packed}"

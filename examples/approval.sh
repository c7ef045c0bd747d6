#!/bin/sh
# Ask for approval, and do something only once it is there: a shell script that takes part with the command line alone.
#
#   python -m attune_dsl exec --agent-id deploy -- sh examples/approval.sh 1.2
#
# Somebody approves it: python -m attune_dsl signals send approved --target deploy --agent-id ann
# or refuses it:        python -m attune_dsl signals send refused --target deploy --agent-id ann
set -u
version=${1:?usage: approval.sh VERSION}

attune() {
    python -m attune_dsl "$@"
}

attune signals broadcast approval_wanted --ttl 600 --payload "{\"version\": \"$version\"}" >/dev/null || exit
attune progress 50% "waits for approval of $version" || exit
echo "waiting for approval of $version"

answer=$(attune signals wait approved refused --timeout "${PATIENCE:-600}")
case $? in
0) ;;
4)
    echo "nobody has answered"
    exit 1
    ;;
*) exit 1 ;; # what was wrong has been said on standard error
esac

case $answer in
*'"type":"approved"'*) echo "deploying $version" ;;
*)
    echo "refused: $answer"
    exit 1
    ;;
esac

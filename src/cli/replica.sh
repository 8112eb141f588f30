#!/bin/sh
# Behind the name of a script, too, Node looks for an --env-file that is not there, and ends with 9
# (nodejs/node#54232). Not behind a `--`.
here=$(readlink -f -- "$0")
exec node -- "${here%/*}/../../dist/src/cli/main.js" "$@"

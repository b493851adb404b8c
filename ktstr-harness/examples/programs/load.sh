#!/bin/sh
# A program for tests of programs: does what its first argument says.
sleep=/include-files/sleep
case $1 in
measures)
    echo "ops_all 1"
    echo "ops: 120 per second"
    echo "stat: [$$] cpu 3 4.5 s" >&2
    ;;
json) echo '{"runs": [{"ops": 12.5}]}' ;;
arguments) echo "seconds $2" && echo "cpus $3" ;;
garbage) printf '\n\033[31m<html>nothing to see</html>\n' ;;
exits) echo "all is well" && echo "error: no such device" >&2 && exit 3 ;;
crashes) echo "about to" && kill -SEGV $$ ;;
crashes_soon) $sleep 1 && kill -SEGV $$ ;;
hangs) $sleep 1000 & $sleep 1000 & echo "waiting" && wait ;;
leaves) $sleep 1000 & echo "ops: 5" ;;
floods)
    line=$(printf '%01000d' 0)
    i=0
    while [ $i -lt 3000 ]; do echo "$line" && i=$((i + 1)); done
    echo "ops: 7"
    ;;
sleeps) echo "ops: 9" && $sleep 1000 ;;
esac

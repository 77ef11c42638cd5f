#!/bin/sh
# A stand-in of the CLI that prints a stream from a file, whatever stands there, and ends.
#
# The instruction names the file, the exit code, and how long it stays afterwards: `replay FILE CODE SECONDS;`.
IFS= read -r instruction
rest=${instruction#*replay }
rest=${rest%%;*}
# shellcheck disable=SC2086
set -- $rest
cat "$1"
sleep "$3"
exit "$2"

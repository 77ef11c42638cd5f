#!/bin/sh
# A stand-in of the CLI, for faults by the hundred: starts at once and asks no model.
#
# It holds a lock in the task's folder for as long as anything of its process tree lives, and
# says so where another tree holds it: the witness that no two of them live at a time.
exec 9>lock
flock -n -E 75 9
case $? in
    0) ;;
    75) echo "$CC_ANYWHERE_TASK" >>../../../witness/overlaps ;;
    # A storm can hit this one process too.
    *) exit 1 ;;
esac
IFS= read -r instruction
case $instruction in *daemon*) setsid sleep 300 </dev/null >/dev/null 2>&1 & ;; esac
echo '{"type":"system","subtype":"init","session_id":"none"}'
case $instruction in *asks*)
    echo '{"type":"control_request","request_id":"ask-1","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"true"}}}'
    IFS= read -r answer || exit 1
    ;;
esac
for n in 1 2 3 4; do
    echo "{\"type\":\"assistant\",\"message\":{\"model\":\"scripted\",\"content\":[{\"type\":\"text\",\"text\":\"$n of $$\"}]}}"
    case $instruction in *long*) sleep 0.3 ;; *) sleep 0.02 ;; esac
done
echo '{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"ok","total_cost_usd":0.01}'

#!/bin/sh
# A stand-in of the CLI that says much: forty texts of 400 kB.
IFS= read -r instruction
echo '{"type":"system","subtype":"init","session_id":"none"}'
text=$(head -c 400000 /dev/zero | tr '\0' x)
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40; do
    printf '{"type":"assistant","message":{"model":"scripted","content":[{"type":"text","text":"%s"}]}}\n' "$text"
done
echo '{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"ok","total_cost_usd":0.01}'

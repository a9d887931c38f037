#!/bin/sh
# Services of several kinds under some concurrency, a few slow requests, and a few that fail; then waits until it is told to end.
#
#     several.sh FOLDER PYTHON AGENT
#
# Writes what was called to FOLDER/fast.truth and FOLDER/slow.truth; the shop's checkouts are in none of both.
set -e
cd "$(dirname "$0")"
"$2" mixed.py --truth "$1/fast.truth" --services threads,go,nginx,threads --otlp http://127.0.0.1:1 --total 800 --in-flight 8 --export-ms 0
"$2" chain.py --truth "$1/slow.truth" --hops 2 --total 8 --in-flight 4 --think-ms 600 --run slow
for _ in 1 2 3 4 5; do "$3" __shop & done
wait
echo done
read -r _ || true

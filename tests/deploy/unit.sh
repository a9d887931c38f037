#!/bin/sh
# The package and its unit under a real systemd, in a machine of its own (`cargo xtask vm --systemd -- tests/deploy/unit.sh
# PACKAGE`): installed, started, asked for a trace, stopped, removed, purged. What it writes is gone with the machine.
set -eu

fail() {
    echo "unit.sh: $1"
    journalctl --no-pager --output=cat --unit=tracer-agent | tail -40
    exit 1
}

package=$1
state() { systemctl show --property="$1" --value tracer-agent; }

dpkg --install "$package"
[ "$(systemctl is-enabled tracer-agent || true)" = disabled ] || fail "the installation enables it"
[ "$(state ActiveState)" = inactive ] || fail "the installation starts it"

# Without a selection it is misuse, which is told once and not tried again.
if systemctl start tracer-agent; then fail "it starts without a selection"; fi
[ "$(state ExecMainStatus)" = 2 ] || fail "a missing selection is status $(state ExecMainStatus)"
[ "$(state NRestarts)" = 0 ] || fail "misuse is tried again"
systemctl reset-failed tracer-agent

cat >/etc/tracer-agent/config.yaml <<END
port: 8000
exe: ["nothing-like-this"]
export: ["json=/var/lib/tracer-agent/spans.json"]
END
python3 -m http.server --bind 127.0.0.1 --directory /usr/share/doc/tracer-agent 8000 2>/dev/null &
tries=100
until curl --silent --output /dev/null http://127.0.0.1:8000/; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "there is nothing to trace"
    sleep 0.2
done
systemctl start tracer-agent || fail "it does not start"
[ "$(state ActiveState)/$(state SubState)" = active/running ] || fail "it is $(state ActiveState)/$(state SubState)"
# systemctl comes back when the agent has said that it is ready, so this request is traced.
curl --silent --output /dev/null http://127.0.0.1:8000/copyright
sleep 1
grep -h "^Cap[EB]\|^NoNewPrivs\|^Seccomp:\|^VmRSS" /proc/"$(state MainPID)"/status
echo "memory: $(state MemoryCurrent)"
systemctl stop tracer-agent
[ "$(state Result)" = success ] || fail "its end is $(state Result)"
# Each start writes the file anew.
grep --quiet '"/copyright"' /var/lib/tracer-agent/spans.json || fail "the request was not traced"
journalctl --no-pager --output=cat --unit=tracer-agent
systemd-analyze security --no-pager tracer-agent | tail -1

dpkg --remove tracer-agent
[ ! -e /usr/bin/tracer-agent ] && [ -e /etc/tracer-agent/config.yaml ] || fail "removal leaves the program, or takes the configuration"
dpkg --purge tracer-agent
for left in /etc/tracer-agent /etc/default/tracer-agent /var/lib/tracer-agent /etc/systemd/system/tracer-agent.service; do
    [ ! -e $left ] || fail "$left is left"
done
echo "unit.sh: all is well"

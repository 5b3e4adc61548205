#!/usr/bin/env bash
# A real Apache Kafka broker of one node (KRaft), on loopback, for users who want to try and for tests. It is no way to
# run Kafka in earnest: one copy of everything, no authentication.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'END'
usage: scripts/kafka.sh start|stop|status|fetch [--port N] [--data DIR] [--proxy HOST:PORT]

  start    fetches Kafka with Maven the first time, starts it and waits until it answers; its process id is in DIR/pid
  stop     stops it and waits until it is gone; what it stored stays
  status   says whether it runs; exit code 0 if it does, 3 if not
  fetch    only fetches Kafka

  --port N           clients connect to 127.0.0.1:N (default 9092); N+1 is used inside, N+2 with --proxy
  --data DIR         where it stores everything (default target/kafka/data)
  --proxy HOST:PORT  also listens on 127.0.0.1:N+2 and tells clients that come that way to use HOST:PORT: for a proxy there
END
}

say() { printf 'kafka: %s\n' "$*"; }
fail() { printf 'kafka: %s\n' "$*" >&2; exit 1; }

action=${1-}
[ $# -gt 0 ] && shift
port=9092 data=target/kafka/data proxy=
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || fail "$1 needs a value; see scripts/kafka.sh --help"
    case $1 in
        --port) port=$2 ;;
        --data) data=$2 ;;
        --proxy) proxy=$2 ;;
        *) fail "unknown option $1; see scripts/kafka.sh --help" ;;
    esac
    shift 2
done
[[ $port =~ ^[0-9]+$ ]] && [ "$port" -ge 1 ] && [ "$port" -le 65533 ] || fail "--port must be a number from 1 to 65533"

libs=target/kafka/libs
address=127.0.0.1:$port

# The broker's process id, if it runs.
running() {
    local pid
    pid=$(cat "$data/pid" 2>/dev/null) && [ -n "$pid" ] && grep -qsa kafka.Kafka "/proc/$pid/cmdline" && echo "$pid"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

fetch() {
    command -v java >/dev/null || fail "no Java: install openjdk-17-jdk-headless (make prerequisites does)"
    [ -e "$libs/complete" ] && return
    command -v mvn >/dev/null || fail "no Maven: install maven (make prerequisites does)"
    say "fetching Apache Kafka with Maven into $libs, once (43 MB)"
    mkdir -p "$libs"
    mvn -q -B -f scripts/kafka/pom.xml dependency:copy-dependencies "-DoutputDirectory=$PWD/$libs" ||
        fail "Maven could not fetch Kafka: its words are above"
    touch "$libs/complete"
}

configuration() {
    local listeners=PLAINTEXT://$address,CONTROLLER://127.0.0.1:$((port + 1)) advertised=PLAINTEXT://$address
    if [ -n "$proxy" ]; then
        listeners+=,PROXY://127.0.0.1:$((port + 2)) advertised+=,PROXY://$proxy
    fi
    cat <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXY:PLAINTEXT
listeners=$listeners
advertised.listeners=$advertised
log.dirs=$(realpath "$data")/log
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
controller.quorum.election.timeout.ms=300
controller.quorum.election.backoff.max.ms=200
END
}

start() {
    local pid id
    if pid=$(running); then
        say "already runs (process $pid, data in $data)"
        return
    fi
    fetch
    # One that was killed just now may still be on its way out.
    for _ in $(seq 50); do
        listening || break
        sleep 0.1
    done
    ! listening || fail "something else listens on $address: choose another --port"
    mkdir -p "$data"
    configuration >"$data/server.properties"
    if [ ! -e "$data/log/meta.properties" ]; then
        id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)
        java -cp "$libs/*" kafka.tools.StorageTool format "--cluster-id=$id" -c "$data/server.properties" >"$data/broker.log" 2>&1 ||
            fail "cannot format $data/log: $(tail -n 3 "$data/broker.log")"
    fi
    setsid nohup java -Xms256m -Xmx512m -cp "$libs/*" kafka.Kafka "$data/server.properties" </dev/null >"$data/broker.log" 2>&1 &
    pid=$!
    echo "$pid" >"$data/pid"
    for _ in $(seq 600); do
        kill -0 "$pid" 2>/dev/null || fail "it did not start, its log is $data/broker.log: $(grep -a ERROR "$data/broker.log" | tail -n 3)"
        if grep -qa 'Kafka Server started' "$data/broker.log"; then
            say "listens on $address (process $pid, data in $data)"
            return
        fi
        sleep 0.1
    done
    fail "it did not answer within a minute; its log is $data/broker.log"
}

stop() {
    local pid
    if ! pid=$(running); then
        say "does not run in $data"
        return
    fi
    kill "$pid"
    for _ in $(seq 300); do
        if ! running >/dev/null; then
            rm -f "$data/pid"
            say "stopped; what it stored stays in $data"
            return
        fi
        sleep 0.1
    done
    fail "process $pid does not stop: kill -9 $pid ends it"
}

case $action in
    start) start ;;
    stop) stop ;;
    fetch) fetch ;;
    status)
        if pid=$(running); then
            say "runs (process $pid, data in $data)"
        else
            say "does not run in $data"
            exit 3
        fi
        ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac

#!/bin/sh
# Builds containerd and its client from their Go modules into FOLDER, for the test that follows the containers of a real one:
#
#     tests/containerd/build.sh FOLDER
#     CONTAINERD_BIN=FOLDER cargo test -p tracer-agent --lib real_containerd -- --ignored
#
# Needs Go, some 1 GB of disk and, on two cores, some three minutes; the test is root's. No container is ever run.
set -e
CONTAINERD=v1.7.27
mkdir -p "$1"
FOLDER=$(cd "$1" && pwd)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

cd "$WORK"
go mod init build >/dev/null 2>&1
go get "github.com/containerd/containerd/cmd/containerd@$CONTAINERD" "github.com/containerd/containerd/cmd/ctr@$CONTAINERD"
export CGO_ENABLED=0
go build -tags 'no_btrfs no_devmapper no_zfs no_aufs no_cri' -o "$FOLDER/containerd" github.com/containerd/containerd/cmd/containerd
go build -o "$FOLDER/ctr" github.com/containerd/containerd/cmd/ctr

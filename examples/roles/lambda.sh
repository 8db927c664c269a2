#!/bin/sh
# The project as a Lambda function, on this machine: the package is built, a
# stand-in for Lambda runs it, and events are sent as a pipeline or the dashboard
# would. Needs Linux, aurora, Go, curl, and a DynamoDB that
# AWS_ENDPOINT_URL_DYNAMODB names; "make lambda" brings the first and the last.
set -eu
cd "$(dirname "$0")"
mkdir -p .aurora

step() { printf '\n== %s\n' "$*"; }

step "the application's tables, and the history's"
go run ./demo
aurora migrate --env local history create

step "the package for Lambda"
aurora bundle --env local --arch "$(go env GOARCH)" --out .aurora/bootstrap --zip .aurora/lambda.zip

step "a function with 6 seconds, of which the last 3 are for ending in good order"
: >.aurora/url
: >.aurora/log
AURORA_LAMBDA_MARGIN=3s aurora lambda local --port 0 --name migrate --timeout 6s --retry-after 2s,4s \
	-- .aurora/bootstrap >>.aurora/url 2>>.aurora/log &
lambda=$!
trap 'kill $lambda 2>/dev/null || cat .aurora/log' EXIT
until [ -s .aurora/url ]; do
	sleep 1
	kill -0 $lambda
done
url=$(head -n 1 .aurora/url)
echo "$url"

# send sends an event; invoke also shows the answer, without what is long in it.
send() { curl -sS --data "$@" "$url/2015-03-31/functions/migrate/invocations"; }
invoke() {
	echo "> $1"
	send "$1" | sed -E 's/,"(holder|migrations)":.*/, …}/'
	echo
}

step "up to one migration, and back"
invoke '{"direction":"up","target":"add-user-roles"}'
invoke '{"direction":"down"}'

step "everything that is pending: one event, and nobody waits for it"
: >.aurora/log
echo '> {}'
send '{}' --header 'X-Amz-Invocation-Type: Event'
tries=0
while status=$(send '{"command":"status"}'); do
	case $status in *'"ready":true'*) break ;; esac
	tries=$((tries + 1))
	case $status/$tries in *'"status":"failed"'* | */300)
		cat .aurora/log
		exit 1
		;;
	esac
	sleep 1
done

step "what the function did: hop after hop, each from the checkpoint of the one before"
sed -n -E \
	-e 's/.*"msg":"(stopped|done)","backfill":"Users","visited":([0-9]+).*/       \1 after \2 users/p' \
	-e 's/.*"msg":"a step does not stop.*/       left a page unfinished: the machine is too busy/p' \
	-e 's/.*"msg":"(running|done)".*"hop":([0-9]+).*/hop \2: \1/p' .aurora/log

step "its status; and by the same file as a command, as both have one history"
invoke '{"command":"status"}'
.aurora/bootstrap migrate status

step "back from here there is no way, and the function says why"
invoke '{"direction":"down"}'

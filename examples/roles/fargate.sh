#!/bin/sh
# The project as Fargate tasks, on this machine: the bundle is put into S3, and
# aurora-runner, which is all that the image has, fetches it, checks it and
# becomes it. A task is a process here, with the variables that the task
# definition would give it. Needs Linux, aurora, aurora-runner, Go, a DynamoDB
# and an S3 that AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL_S3 name;
# "make fargate" brings them.
set -eu
cd "$(dirname "$0")"
mkdir -p .aurora

step() { printf '\n== %s\n' "$*"; }

step "the application's tables"
go run ./demo

step "the deploy: the bundle, in S3 under its own sha256"
aurora bundle --env local --arch "$(go env GOARCH)" --out .aurora/bundle --upload s3://deploys/roles | tee .aurora/bundled
url=$(sed -n 's/^\(s3:[^ ]*\) .*/\1/p' .aurora/bundled)
sha256=$(sed -n 's/^sha256 //p' .aurora/bundled)

step "the same again, and nothing is uploaded"
aurora bundle --env local --arch "$(go env GOARCH)" --out .aurora/bundle --upload s3://deploys/roles | tail -n 2

# task SHA256 ARGUMENT… is a task, and nothing of this shell's environment.
# It replaces the shell that runs it, so that signals reach it.
task() {
	digest=$1
	shift
	exec env -i MIGRATION_BUNDLE_URL="$url" MIGRATION_BUNDLE_SHA256="$digest" AWS_REGION="$AWS_REGION" \
		AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY" \
		AWS_ENDPOINT_URL_S3="$AWS_ENDPOINT_URL_S3" AWS_ENDPOINT_URL_DYNAMODB="$AWS_ENDPOINT_URL_DYNAMODB" \
		PATH="$PATH" aurora-runner "$@"
}

step "a task with another digest: refused with 78, and nothing runs"
code=0
(task "$(printf '%064d' 0)" migrate up) || code=$?
echo "exit code $code"
[ $code = 78 ]

step "a task that is stopped at work, with SIGTERM as ECS does it"
(task "$sha256" migrate up) &
task=$!
trap 'kill $task 2>/dev/null || true' EXIT
until .aurora/bundle migrate show give-users-a-role 2>/dev/null | grep -q '"visited"'; do
	kill -0 $task
	sleep 0.2
done
kill -TERM $task
code=0
wait $task || code=$?
trap - EXIT
echo "exit code $code"
[ $code = 130 ]

step "the next task goes on from the checkpoint"
(task "$sha256" migrate up)

step "and one more asks whether all is done"
(task "$sha256" migrate status)
.aurora/bundle migrate show give-users-a-role

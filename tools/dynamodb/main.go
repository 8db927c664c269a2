// Dynamodb runs a command beside a DynamoDB on this machine, which it starts
// and stops, and tells it by the variables of the AWS SDKs where that is:
//
//	go run ./tools/dynamodb COMMAND ARGUMENT…
//
// Where AWS_ENDPOINT_URL_DYNAMODB is set already, that one is used: DynamoDB
// Local, for example. The exit code is the command's.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "dynamodb:", err)
		code = 1
	}
	os.Exit(code)
}

func run(command []string) (int, error) {
	if len(command) == 0 {
		return 0, errors.New("which command?")
	}
	endpoint := os.Getenv("AWS_ENDPOINT_URL_DYNAMODB")
	if endpoint == "" {
		url, stop, err := dynamotest.Start()
		if err != nil {
			return 0, err
		}
		defer stop()
		endpoint = url
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"AWS_ENDPOINT_URL_DYNAMODB="+endpoint,
		"AWS_REGION="+cmp.Or(os.Getenv("AWS_REGION"), "eu-central-1"),
		// What listens on this machine needs some, and must not get real ones.
		"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_SESSION_TOKEN=",
	)
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Package dynamotest gives tests a stand-in for DynamoDB that speaks its
// protocol: one server for a test binary, one table for a test, and a proxy
// that counts requests and makes them fail as AWS and networks do.
//
// The stand-in does everything one after the other, never throttles, and does
// not check signatures; the proxy plays what is missing.
package dynamotest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

var (
	once     sync.Once
	process  *os.Process
	endpoint string
	startErr error
	count    atomic.Int64
)

// Main runs the tests of a package and stops the stand-in that they started.
func Main(m *testing.M) {
	code := m.Run()
	if process != nil {
		if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			fmt.Fprintln(os.Stderr, "stop the stand-in for DynamoDB:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Endpoint returns the URL of the stand-in. Tests that need it fail without:
// they prove nothing otherwise.
func Endpoint(t testing.TB) string {
	t.Helper()
	once.Do(func() { endpoint, startErr = start() })
	if startErr != nil {
		t.Fatal(startErr)
	}
	return endpoint
}

// Start runs the stand-in for a program that is not a test. It ends with stop,
// or with this process.
func Start() (url string, stop func(), err error) {
	once.Do(func() { endpoint, startErr = start() })
	if startErr != nil {
		return "", nil, startErr
	}
	return endpoint, func() {
		_ = process.Kill()
		once = sync.Once{} // the tests may be run again
	}, nil
}

// start runs the stand-in, in memory.
func start() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	binary, err := find(ctx)
	if err != nil {
		return "", err
	}
	// The port is free until somebody else takes it: then try another.
	for try := 0; ; try++ {
		url, err := startAt(ctx, binary)
		if err == nil || try == 4 {
			return url, err
		}
	}
}

func startAt(ctx context.Context, binary string) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return "", err
	}
	cmd := exec.Command(binary, "--port", strconv.Itoa(port))
	dieWithParent(cmd)
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The kernel ends a child together with the thread that started it.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return "", fmt.Errorf("start the stand-in for DynamoDB: %w", err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	for {
		if answers(ctx, url) {
			process = cmd.Process
			return url, nil
		}
		select {
		case err := <-ended:
			return "", fmt.Errorf("the stand-in for DynamoDB (%s) ended at once: %w", binary, err)
		case <-ctx.Done():
			return "", errors.Join(fmt.Errorf("the stand-in for DynamoDB (%s) does not answer: %w", binary, ctx.Err()), cmd.Process.Kill())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// Table returns a name for a table that no other test uses. The table does not
// exist yet.
func Table(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("test-%d-%d", os.Getpid(), count.Add(1))
}

// Client returns a client for an endpoint, that of the stand-in or of a proxy
// in front of it.
func Client(endpoint string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

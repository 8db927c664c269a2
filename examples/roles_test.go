package examples_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

// maxPackage is how large a package for Lambda may be, in bytes.
const maxPackage = 8_000_000

// The migrations of DynamoDB through every door: the command line, a Lambda
// function, and Fargate tasks.
func TestRoles(t *testing.T) {
	p := copyExample(t, "roles")
	p.run(t, 0, "go", "build", "-o", p.bin, module+"/cmd/aurora-runner", module+"/tools/s3")
	endpoint := dynamotest.Endpoint(t)
	p.env = append(p.env, "AWS_ENDPOINT_URL_DYNAMODB="+endpoint, "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=local",
		"AWS_SECRET_ACCESS_KEY=local", "AWS_SESSION_TOKEN=", "AWS_EC2_METADATA_DISABLED=true", "PATH="+p.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	client := dynamotest.Client(endpoint)
	for _, door := range []struct {
		name string
		test func(*testing.T, project, *dynamodb.Client)
	}{{"command line", testCommandLine}, {"lambda", testLambda}, {"fargate", testFargate}} {
		t.Run(door.name, func(t *testing.T) {
			t.Cleanup(func() { dropTables(t, client) })
			door.test(t, p, client)
		})
	}
	t.Run("packages", func(t *testing.T) { testPackages(t, p) })
}

// testCommandLine goes there and back.
func testCommandLine(t *testing.T, p project, client *dynamodb.Client) {
	p.run(t, 0, "go", "run", "./demo", "-users", "1000")
	p.migrate(t, 0, "local", "apply")
	p.migrate(t, 0, "local", "status")
	checkRoles(t, client, 1000)
	var shown struct{ Description, Output string }
	attempts := p.migrate(t, 0, "local", "show", "add-user-roles", "--json")
	if err := json.Unmarshal([]byte(attempts), &shown); err != nil {
		t.Fatalf("%v\n%s", err, attempts)
	}
	for _, want := range []string{"Adds default roles", "added a role", "Viewer"} {
		if !strings.Contains(attempts, want) {
			t.Errorf("show has no %q:\n%s", want, attempts)
		}
	}
	if out := p.migrate(t, 1, "local", "down"); !strings.Contains(out, "who had no role before") {
		t.Errorf("the reason why there is no way down is missing:\n%s", out)
	}
	p.migrate(t, 0, "local", "apply")
}

// script runs one of the example's scripts, by itself or beside something, and
// returns what it wrote to its standard output.
func (p project) script(t *testing.T, command ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("missing: Linux (bundles are programs for it)")
	}
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	// What it started must not keep a test waiting that has failed.
	cmd.WaitDelay = 10 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\nand to standard error:\n%s", command, err, out, &stderr)
	}
	return string(out)
}

// wants checks that a text has others, in their order.
func wants(t *testing.T, text string, others ...string) {
	t.Helper()
	rest := text
	for _, want := range others {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%q is missing, or not behind what should be before it:\n%s", want, text)
		}
		rest = after
	}
}

var hopLine = regexp.MustCompile(`(?m)^hop (\d+): (.+)$`)

// testLambda: one event leads to a chain of invocations that ends when all is
// done.
func testLambda(t *testing.T, p project, client *dynamodb.Client) {
	if _, err := exec.LookPath("curl"); errors.Is(err, exec.ErrNotFound) {
		t.Skip("missing: curl (package curl)")
	}
	out := p.script(t, "./lambda.sh")
	wants(t, out, `"direction":"up","state":"completed"`, `"direction":"down","state":"completed"`, "hop 0: running", " users\n",
		"hop 1: running", "done after 20000 users", ": done", `"ready":true,"pending":[]`, "Migration Status: OK", "IrreversibleError")
	last := 0
	for _, m := range hopLine.FindAllStringSubmatch(out, -1) {
		n, err := strconv.Atoi(m[1])
		// One that Lambda repeats has the number that it had.
		if err != nil || n != last && n != last+1 {
			t.Errorf("hop %s follows hop %d:\n%s", m[1], last, out)
		}
		last = n
	}
	t.Logf("%d invocations", last+1)
	checkRoles(t, client, 20_000)
}

// testFargate: nothing runs but the bundle that was asked for, and a task that
// was stopped is continued by the next.
func testFargate(t *testing.T, p project, client *dynamodb.Client) {
	out := p.script(t, filepath.Join(p.bin, "s3"), "./fargate.sh")
	wants(t, out, "  uploaded\n", "  there already\n", "exit code 78", "interrupted", "exit code 130", "1 migration\n", "Migration Status: OK",
		"up completed", "done backfill=Users", "up interrupted", "checkpoint", "stopped backfill=Users")
	// The newest attempt comes first. Had it begun anew, it would have found the
	// users of the first one done, and have changed only the others.
	var changed []int
	for _, m := range regexp.MustCompile(`backfill=Users visited=\d+ changed=(\d+)`).FindAllStringSubmatch(out, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		changed = append(changed, n)
	}
	if len(changed) != 2 || changed[1] == 0 || changed[0] > 18_000 || changed[0] <= 18_000-changed[1] {
		t.Errorf("the tasks count %d changed users, newest first: the second did not go on from where the first was\n%s", changed, out)
	}
	checkRoles(t, client, 20_000)
}

// testPackages: the packages are small enough. That for this machine is there
// already.
func testPackages(t *testing.T, p project) {
	dir := filepath.Join(p.dir, ".aurora")
	for _, arch := range []string{"amd64", "arm64"} {
		path := filepath.Join(dir, "lambda.zip")
		if arch != runtime.GOARCH || runtime.GOOS != "linux" {
			path = filepath.Join(t.TempDir(), "lambda.zip")
			p.run(t, 0, filepath.Join(p.bin, "aurora"), "bundle", "--env", "local", "--arch", arch, "--out", filepath.Join(t.TempDir(), "bundle"), "--zip", path)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", arch, info.Size())
		if info.Size() >= maxPackage {
			t.Errorf("the package for %s has %d bytes, want fewer than %d", arch, info.Size(), maxPackage)
		}
	}
}

// checkRoles: both roles are there, and every user has one.
func checkRoles(t *testing.T, client *dynamodb.Client, users int) {
	t.Helper()
	if got := count(t, client, "Roles", ""); got != 2 {
		t.Errorf("the table Roles has %d items, want 2", got)
	}
	admins, viewers := count(t, client, "Users", "role#admin"), count(t, client, "Users", "role#viewer")
	if wantAdmins := users / 10; admins != wantAdmins || viewers != users-wantAdmins {
		t.Errorf("%d admins and %d viewers, want %d and %d", admins, viewers, wantAdmins, users-wantAdmins)
	}
}

// count counts the items of a table, or those with a role.
func count(t *testing.T, client *dynamodb.Client, table, role string) int {
	t.Helper()
	in := &dynamodb.ScanInput{TableName: &table, Select: types.SelectCount, ConsistentRead: aws.Bool(true)}
	if role != "" {
		in.FilterExpression = aws.String("#role = :role")
		in.ExpressionAttributeNames = map[string]string{"#role": "role"}
		in.ExpressionAttributeValues = map[string]types.AttributeValue{":role": &types.AttributeValueMemberS{Value: role}}
	}
	n := 0
	for pages := dynamodb.NewScanPaginator(client, in); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += int(page.Count)
	}
	return n
}

// dropTables makes room for the next door, which wants the same tables.
func dropTables(t *testing.T, client *dynamodb.Client) {
	t.Helper()
	for _, table := range []string{"Roles", "Users", "MigrationsTable"} {
		var none *types.ResourceNotFoundException
		// The test's context has ended already.
		if _, err := client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table}); err != nil && !errors.As(err, &none) {
			t.Errorf("drop %s: %v", table, err)
		}
	}
}

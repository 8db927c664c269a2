package backend

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// childEnv makes the test binary a process with a worker for the database
// whose URL it holds, which never gets further than the delay of its jobs.
const childEnv = "AURORA_BACKEND_TEST_CHILD"

func childMain() {
	StartWorker(context.Background(), WorkerConfig{URL: os.Getenv(childEnv), Delay: hold})
	select {}
}

// hold keeps a job in flight for longer than any test lasts.
func hold(Job) time.Duration { return time.Hour }

// work runs a worker until the test ends, or stop is called.
func work(t testing.TB, database string, cfg WorkerConfig) (w *Worker, stop func()) {
	t.Helper()
	cfg.URL = server.URL(database)
	w = StartWorker(context.Background(), cfg)
	stop = sync.OnceFunc(func() {
		if err := w.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return w, stop
}

// submit submits a job and returns its id.
func (c *client) index(statement string) string {
	c.t.Helper()
	return c.one(index(statement))
}

func (c *client) validate(table, constraint string) string {
	c.t.Helper()
	return c.one(fmt.Sprintf("SELECT sys._validate_constraint('%s', '%s')", table, constraint))
}

// job returns a job's status and details.
func (c *client) job(id string) string {
	c.t.Helper()
	return c.one("SELECT concat_ws(': ', status, details) FROM sys.jobs WHERE job_id = '" + id + "'")
}

// wait waits for a job and checks how it ended.
func (c *client) wait(id, want string) {
	c.t.Helper()
	succeeded := c.one("CALL sys.wait_for_job('" + id + "')")
	got := c.job(id)
	if got != want || (succeeded == "t") != (got[:6] != "failed") {
		c.t.Errorf("job ended with %s (%s), want %s", got, succeeded, want)
	}
}

// valid returns indisvalid, or "" if there is no such index.
func (c *client) valid(name string) string {
	c.t.Helper()
	rows := c.rows("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('" + name + "')")
	if len(rows) == 0 {
		return ""
	}
	return rows[0][0]
}

func (c *client) inFlight(id string) {
	c.t.Helper()
	eventually(c.t, "the job is processed", func() bool { return c.job(id) == "processing" })
}

func TestIndexBuild(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	admin.exec("CREATE SCHEMA s; CREATE TABLE s.t (a int, b text)", "INSERT INTO s.t SELECT i, i FROM generate_series(1, 100) i")

	admin.exec("BEGIN")
	id := admin.index("CREATE UNIQUE INDEX \"I\" ON s.t (a)")
	const columns = "SELECT status, details, job_type, class_id, object_id::regclass, object_name, start_time <= clock_timestamp(), update_time FROM sys.jobs"
	if diff := cmp.Diff([][]string{{"submitted", "NULL", "INDEX_BUILD", "1259", `s."I"`, `s."I"`, "t", "NULL"}}, admin.rows(columns)); diff != "" {
		t.Errorf("job in its transaction (-want +got):\n%s", diff)
	}
	admin.exec("COMMIT")
	if got := admin.valid(`s."I"`); got != "f" {
		t.Errorf("before the job: valid %q", got)
	}
	if got := admin.one("SELECT indisunique FROM pg_index WHERE indexrelid = 's.\"I\"'::regclass"); got != "t" {
		t.Errorf("unique: %s", got)
	}
	// New rows are kept out from the start, as on DSQL.
	admin.refused("INSERT INTO s.t VALUES (1)", "23505", `duplicate key value violates unique constraint "I"`)

	done := make(chan Job, 1)
	work(t, name, WorkerConfig{Done: func(j Job) { done <- j }})
	admin.wait(id, "completed")
	if got := admin.valid(`s."I"`); got != "t" {
		t.Errorf("after the job: valid %q", got)
	}
	if diff := cmp.Diff([][]string{{"completed", "NULL", "INDEX_BUILD", "1259", `s."I"`, `s."I"`, "t", "t"}},
		admin.rows("SELECT status, details, job_type, class_id, object_id::regclass, object_name, start_time <= clock_timestamp(), update_time > start_time FROM sys.jobs")); diff != "" {
		t.Errorf("job after its end (-want +got):\n%s", diff)
	}
	got := <-done
	got.seq = 0
	if diff := cmp.Diff(Job{ID: id, Type: "INDEX_BUILD", Name: `s."I"`, Table: "t", Unique: true, Status: "completed"}, got, cmp.AllowUnexported(Job{})); diff != "" {
		t.Errorf("job as Done is told (-want +got):\n%s", diff)
	}
	admin.exec("ALTER TABLE s.t ADD CONSTRAINT u UNIQUE USING INDEX \"I\"")

	// IF NOT EXISTS makes no job, and an unnamed index is named as ever.
	if rows := admin.rows(index("CREATE INDEX IF NOT EXISTS u ON s.t (b)")); len(rows) != 0 {
		t.Errorf("IF NOT EXISTS of an index that exists: %v", rows)
	}
	admin.wait(admin.index("CREATE INDEX ON s.t (lower(b))"), "completed")
	if got := admin.valid("s.t_lower_idx"); got != "t" {
		t.Errorf("index without a name: valid %q", got)
	}

	// What is rolled back was never there.
	admin.exec("BEGIN", index("CREATE INDEX gone ON s.t (b)"), "ROLLBACK")
	if got := admin.one("SELECT count(*) FROM sys.jobs"); got != "2" {
		t.Errorf("%s jobs, want 2", got)
	}
}

// A plan that was made while the index was not valid is made anew.
func TestPlansUseTheIndex(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	admin.exec("CREATE TABLE t (a int, b int)", "INSERT INTO t SELECT i, i FROM generate_series(1, 2000) i", "SET enable_seqscan = off",
		"SET plan_cache_mode = force_generic_plan", "PREPARE q AS SELECT b FROM t WHERE a = 1")
	id := admin.index("CREATE INDEX i ON t (a)")
	plan := func() string { return fmt.Sprint(admin.rows("EXPLAIN (COSTS off) EXECUTE q")) }
	if got := plan(); strings.Contains(got, "on i") {
		t.Errorf("plan before the job: %v", got)
	}
	work(t, name, WorkerConfig{})
	admin.wait(id, "completed")
	if got := plan(); !strings.Contains(got, "on i") {
		t.Errorf("plan after the job: %v", got)
	}
}

func TestDuplicates(t *testing.T) {
	const problem = "failed: Found duplicate key while validating index for UCVs"
	name := database(t)
	admin := connectAs(t, name, "admin")
	work(t, name, WorkerConfig{})
	for _, tt := range []struct{ rows, index, want string }{
		{"(1, 'a'), (2, 'b')", "(a)", "completed"},
		{"(1, 'a'), (1, 'b')", "(a)", problem},
		{"(1, 'a'), (1, 'b')", "(a, b)", "completed"},
		{"(1, 'a'), (1, 'a')", "(a, b)", problem},
		{"(1, 'a'), (1, 'b')", "(a) INCLUDE (b)", problem},
		{"(NULL, 'a'), (NULL, 'a')", "(a)", "completed"},
		{"(NULL, 'a'), (NULL, 'a')", "(a, b)", "completed"},
		{"(NULL, 'a'), (NULL, 'b')", "(a) NULLS NOT DISTINCT", problem},
		{"(NULL, 'a'), (NULL, 'b')", "(a, b) NULLS NOT DISTINCT", "completed"},
		{"(1, 'a'), (1, 'b')", "(a) WHERE b = 'a'", "completed"},
		{"(1, 'a'), (1, 'a')", "(a) WHERE b = 'a'", problem},
		{"(1, 'a'), (2, 'A')", "(lower(b))", problem},
		{"(1, 'a'), (2, 'A')", "(b)", "completed"},
		{"(1, 'a'), (-1, 'b')", "((a * a))", problem},
		{"(1, 'a'), (1, 'b'), (1, 'c')", "((a::text || b))", "completed"},
	} {
		admin.exec("CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES "+tt.rows)
		t.Log(tt.rows, tt.index)
		id := admin.index("CREATE UNIQUE INDEX i ON t " + tt.index)
		admin.wait(id, tt.want)
		if got, want := admin.valid("i"), map[bool]string{true: "f", false: "t"}[tt.want == problem]; got != want {
			t.Errorf("%s: valid %q, want %q", tt.index, got, want)
		}
		if tt.want == problem { // the leftover refuses more of the same
			_, err := admin.try("INSERT INTO t VALUES " + tt.rows)
			if code(err) != uniqueViolation {
				t.Errorf("%s: insert with the INVALID index: %v", tt.index, err)
			}
			if rows := admin.rows(index("CREATE UNIQUE INDEX IF NOT EXISTS i ON t (a)")); len(rows) != 0 {
				t.Errorf("IF NOT EXISTS of an INVALID index: %v", rows)
			}
			admin.exec("DROP INDEX i", "DELETE FROM t")
			admin.wait(admin.index("CREATE UNIQUE INDEX i ON t "+tt.index), "completed")
		}
		admin.exec("DROP TABLE t")
	}
}

func TestInjectedFailure(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	admin.exec("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID")
	var mu sync.Mutex
	failures := map[string]string{"public.plain": "out of luck", "public.uniq": "bad day", "c": "no"}
	work(t, name, WorkerConfig{Fail: func(j Job) string {
		mu.Lock()
		defer mu.Unlock()
		defer delete(failures, j.Name)
		return failures[j.Name]
	}})
	admin.wait(admin.index("CREATE INDEX plain ON t (a)"), "failed: out of luck")
	admin.wait(admin.index("CREATE UNIQUE INDEX uniq ON t (a)"), "failed: bad day")
	admin.wait(admin.validate("t", "c"), "failed: no")
	if got := admin.valid("plain") + admin.valid("uniq") + admin.one("SELECT convalidated FROM pg_constraint WHERE conname = 'c'"); got != "fff" {
		t.Errorf("valid after failures: %s", got)
	}
	admin.refused("INSERT INTO t VALUES (1)", "23505", `duplicate key value violates unique constraint "uniq"`)
	admin.exec("DROP INDEX plain", "DROP INDEX uniq")
	admin.wait(admin.index("CREATE INDEX plain ON t (a)"), "completed")
	admin.wait(admin.index("CREATE UNIQUE INDEX uniq ON t (a)"), "completed")
	admin.wait(admin.validate("t", "c"), "completed")
}

func TestValidate(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	work(t, name, WorkerConfig{})
	admin.exec(`CREATE TABLE p (a int PRIMARY KEY); INSERT INTO p VALUES (1); CREATE SCHEMA s`,
		`CREATE TABLE s."T" (a int, b int, c int GENERATED ALWAYS AS (a + 1) STORED)`,
		`INSERT INTO s."T" VALUES (1, 1), (NULL, 2)`,
		`ALTER TABLE s."T" ADD CONSTRAINT ok CHECK (a > 0) NOT VALID`,
		`ALTER TABLE s."T" ADD CONSTRAINT bad CHECK (c IS NOT NULL) NOT VALID`,
		`ALTER TABLE s."T" ADD CONSTRAINT broken CHECK (10 / (b - 1) > 0) NOT VALID`,
		`ALTER TABLE s."T" ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES p NOT VALID`,
		`ALTER TABLE s."T" ADD CONSTRAINT fk_bad FOREIGN KEY (b) REFERENCES p NOT VALID`)
	for constraint, want := range map[string]string{
		"ok":     "completed",
		"fk":     "completed",
		"bad":    `failed: check constraint "bad" is violated by some row`,
		"broken": "failed: division by zero",
		"fk_bad": `failed: insert or update on table "T" violates foreign key constraint "fk_bad"`,
	} {
		id := admin.validate(`s."T"`, constraint)
		admin.wait(id, want)
		if got := admin.one("SELECT concat_ws(' ', job_type, class_id, object_id::regclass, object_name) FROM sys.jobs WHERE job_id = '" + id + "'"); got != `VALIDATE_CONSTRAINT 1259 s."T" s."T"` {
			t.Errorf("%s: job %s", constraint, got)
		}
		valid := admin.one("SELECT convalidated FROM pg_constraint WHERE conname = '" + constraint + "'")
		if (valid == "t") != (want == "completed") {
			t.Errorf("%s: convalidated %s", constraint, valid)
		}
	}
	admin.wait(admin.validate(`s."T"`, "ok"), "completed") // again
	admin.exec(`ALTER TABLE s."T" DROP CONSTRAINT broken`, `ALTER TABLE s."T" DROP CONSTRAINT fk_bad`, `UPDATE s."T" SET a = 1`)
	admin.wait(admin.validate(`s."T"`, "bad"), "completed")
}

// While jobs are in flight, nothing waits for them, and what they are about
// can go.
func TestDropWhileInFlight(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	admin.exec("SET lock_timeout = '60s'")
	work(t, name, WorkerConfig{Delay: hold, Fail: func(Job) string { return "not reached by what is gone" }})
	for _, tt := range []struct{ name, drop, index, constraint string }{
		{"index and constraint", "ALTER TABLE t DROP CONSTRAINT c; DROP INDEX i", `completed: relation "public.i" does not exist`, `completed: constraint "c" does not exist`},
		{"column", "ALTER TABLE t DROP COLUMN a", `completed: relation "public.i" does not exist`, `completed: constraint "c" does not exist`},
		{"table", "DROP TABLE t", "completed: Skipped job for nonexistent table.", "completed: Skipped job for nonexistent table."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			admin := &client{t, admin.conn}
			admin.exec("CREATE TABLE t (a int, b int)", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID")
			indexJob, constraintJob := admin.index("CREATE UNIQUE INDEX i ON t (a)"), admin.validate("t", "c")
			admin.inFlight(indexJob)
			admin.inFlight(constraintJob)
			admin.exec("ALTER TABLE t ADD COLUMN d int", "INSERT INTO t VALUES (1)", "ALTER INDEX i RENAME TO j", "ALTER INDEX j RENAME TO i", tt.drop)
			admin.wait(indexJob, tt.index)
			admin.wait(constraintJob, tt.constraint)
			admin.exec("DROP TABLE IF EXISTS t")
			if got := admin.one("SELECT object_name IS NULL FROM sys.jobs WHERE job_id = '" + indexJob + "'"); got != "t" {
				t.Error("a dropped index has a name")
			}
		})
	}
}

func TestSideBySide(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	admin.exec("CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 1), (2, 1)")
	_, stop := work(t, name, WorkerConfig{Delay: hold})
	var ids []string
	for i := range 10 { // more than are worked on at once
		ids = append(ids, admin.index(fmt.Sprintf("CREATE UNIQUE INDEX i%d ON t (%s)", i, string("ab"[i%2]))))
	}
	for _, id := range ids {
		admin.inFlight(id)
	}
	stop()
	work(t, name, WorkerConfig{})
	for i, id := range ids {
		admin.wait(id, []string{"completed", "failed: Found duplicate key while validating index for UCVs"}[i%2])
	}
}

func TestSeveralWorkers(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	admin.exec("CREATE TABLE t (a int)")
	var mu sync.Mutex
	ended := map[string]int{}
	for range 3 {
		w, _ := work(t, name, WorkerConfig{Done: func(j Job) {
			mu.Lock()
			defer mu.Unlock()
			ended[j.ID]++
		}})
		w.Wake()
	}
	want := map[string]int{}
	for i := range 20 {
		id := admin.index(fmt.Sprintf("CREATE INDEX i%d ON t (a)", i))
		want[id] = 1
		admin.wait(id, "completed")
		admin.exec(fmt.Sprintf("DROP INDEX i%d", i))
	}
	eventually(t, "every job is told of once", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return cmp.Equal(want, ended)
	})
}

func TestTakeover(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	admin.exec("CREATE TABLE t (a int)")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), childEnv+"="+server.URL(name))
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	id := admin.index("CREATE UNIQUE INDEX i ON t (a)")
	admin.inFlight(id)

	// Another worker leaves the job alone as long as this one lives, however
	// little it does, and does the others.
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	work(t, name, WorkerConfig{})
	admin.wait(admin.index("CREATE INDEX later ON t (a)"), "completed")
	if got := admin.job(id); got != "processing" {
		t.Errorf("job of a living worker: %s", got)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	admin.wait(id, "completed")
	if admin.valid("i") != "t" {
		t.Error("the index is not valid")
	}
}

func TestLostConnections(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	super := connectAs(t, name, "postgres")
	admin.exec("CREATE TABLE t (a int)")
	taken := make(chan struct{}, 100)
	work(t, name, WorkerConfig{Delay: func(Job) time.Duration { taken <- struct{}{}; return 20 * time.Millisecond }})
	for i := range 5 {
		id := admin.index(fmt.Sprintf("CREATE INDEX i%d ON t (a)", i))
		<-taken
		super.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aurora jobs' AND datid = (SELECT oid FROM pg_database WHERE datname = '" + name + "')")
		admin.wait(id, "completed")
	}
}

// A job waits for definitions in progress, not for readers and writers, and
// not in a way that others wait behind it.
func TestLocks(t *testing.T) {
	name := database(t)
	admin, reader, writer := connectAs(t, name, "admin"), connectAs(t, name, "admin"), connectAs(t, name, "admin")
	super := connectAs(t, name, "postgres")
	admin.exec("CREATE TABLE t (a int, b int)", "INSERT INTO t VALUES (1, 1)")
	_, stop := work(t, name, WorkerConfig{Delay: hold})
	id := admin.index("CREATE UNIQUE INDEX i ON t (a)")
	admin.inFlight(id)
	reader.exec("BEGIN", "SELECT * FROM t")
	writer.exec("BEGIN", "INSERT INTO t VALUES (2, 2)")
	stop()
	work(t, name, WorkerConfig{})
	admin.wait(id, "completed")
	reader.exec("COMMIT")
	writer.exec("COMMIT")

	admin.exec("SET lock_timeout = '60s'")
	_, stop = work(t, name, WorkerConfig{Delay: hold})
	id = admin.index("CREATE INDEX j ON t (b)")
	admin.inFlight(id)
	reader.exec("BEGIN", "ALTER TABLE t ADD COLUMN c int")
	stop()
	work(t, name, WorkerConfig{})
	eventually(t, "the job waits for a lock", func() bool {
		return super.one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'aurora jobs' AND wait_event_type = 'Lock' AND datid = (SELECT oid FROM pg_database WHERE datname = '"+name+"')") != "0"
	})
	reader.exec("COMMIT")
	admin.wait(id, "completed")
}

func TestWaitForJob(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	admin.exec("CREATE TABLE t (a int)")
	id := admin.index("CREATE INDEX i ON t (a)")
	const badID = "Unable to convert text to UUID"
	for _, bad := range []string{"''", "'x'", "NULL", "upper('" + id + "')", "'" + id + "a'", "'" + id[:25] + "1'", "'" + id[:25] + "b'", "gen_random_uuid()::text"} {
		admin.refused("CALL sys.wait_for_job("+bad+")", "22P02", badID)
	}
	admin.refused("SELECT sys.wait_for_job('x'::text)", "42809", "sys.wait_for_job(text) is a procedure")
	admin.refused("CALL sys.wait_for_job((SELECT job_id FROM sys.jobs))", "0A000", "cannot use subquery in CALL argument")
	admin.refused("BEGIN; CALL sys.wait_for_job('"+id+"')", "2D000", "invalid transaction termination")
	admin.exec("ROLLBACK")
	if got := admin.one("CALL sys.wait_for_job('aaaaaaaaaaaaaaaaaaaaaaaaaa')"); got != "f" {
		t.Errorf("a job that never was: %s", got)
	}

	// The wait sees what is committed after it began, in both protocols.
	waiter := connectAs(t, name, "admin")
	result := make(chan string, 2)
	go func() {
		r := waiter.conn.ExecParams(t.Context(), "CALL sys.wait_for_job($1)", [][]byte{[]byte(id)}, nil, nil, nil).Read()
		if r.Err != nil || len(r.Rows) != 1 {
			result <- fmt.Sprint(r.Err, r.Rows)
			return
		}
		result <- fmt.Sprintf("%s %s %s", r.FieldDescriptions[0].Name, r.Rows[0][0], r.CommandTag)
	}()
	other := connectAs(t, name, "admin")
	go func() {
		rows, err := other.try("CALL sys.wait_for_job('" + id + "')")
		result <- fmt.Sprint(rows, err)
	}()
	eventually(t, "both wait", func() bool {
		return admin.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datid = (SELECT oid FROM pg_database WHERE datname = '"+name+"')") == "2"
	})
	work(t, name, WorkerConfig{})
	got := map[string]bool{<-result: true, <-result: true}
	if diff := cmp.Diff(map[string]bool{"succeeded t CALL": true, "[[t]] <nil>": true}, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestJobsAreRemoved(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	work(t, name, WorkerConfig{})
	admin.exec("CREATE TABLE t (a int, b int)")
	old := admin.index("CREATE INDEX i ON t (a)")
	admin.wait(old, "completed")
	admin.exec("DROP INDEX i", "ALTER TABLE t DROP COLUMN a")
	if diff := cmp.Diff([][]string{{"DROP", "completed"}, {"DROP", "completed"}}, admin.rows("SELECT job_type, status FROM sys.jobs WHERE job_type <> 'INDEX_BUILD'")); diff != "" {
		t.Errorf("jobs of drops (-want +got):\n%s", diff)
	}
	super := connectAs(t, name, "postgres")
	super.exec("UPDATE sys._jobs SET update_time = update_time - interval '29 minutes'")
	admin.wait(admin.index("CREATE INDEX j ON t (b)"), "completed")
	if got := admin.one("SELECT count(*) FROM sys.jobs"); got != "4" {
		t.Errorf("%s jobs after 29 minutes, want 4", got)
	}
	super.exec("UPDATE sys._jobs SET update_time = update_time - interval '2 minutes'")
	admin.wait(admin.index("CREATE INDEX k ON t (b)"), "completed")
	if got := admin.one("SELECT count(*) FROM sys.jobs"); got != "2" {
		t.Errorf("%s jobs after 31 minutes, want 2", got)
	}
	if got := admin.one("CALL sys.wait_for_job('" + old + "')"); got != "f" {
		t.Errorf("wait for a job that was removed: %s", got)
	}
}

// Jobs do not depend on what their table's owner may do meanwhile, and what
// users wrote gains no rights by being run by them.
func TestRightsOfJobs(t *testing.T) {
	name := database(t)
	admin, super := connectAs(t, name, "admin"), connectAs(t, name, "postgres")
	role := "owner_" + name
	admin.exec("CREATE ROLE "+role+" LOGIN", "CREATE SCHEMA s", "GRANT USAGE, CREATE ON SCHEMA s TO "+role)
	owner := connectAs(t, name, role)
	owner.exec("CREATE TABLE s.t (a int)", "INSERT INTO s.t VALUES (1)", "REVOKE ALL ON s.t FROM "+role)
	owner.exec("CREATE FUNCTION s.who(int) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT (1 / (current_user <> ''postgres'')::int)::text'",
		"ALTER TABLE s.t ADD CONSTRAINT c CHECK (s.who(a) = '1') NOT VALID")
	ids := []string{
		owner.index("CREATE UNIQUE INDEX ON s.t (a)"),
		owner.index("CREATE UNIQUE INDEX ON s.t (s.who(a))"),
		owner.validate("s.t", "c"),
	}
	admin.exec("REVOKE ALL ON SCHEMA s FROM " + role)
	super.exec("ALTER ROLE " + role + " NOLOGIN")
	work(t, name, WorkerConfig{})
	for _, id := range ids {
		admin.wait(id, "completed")
	}
}

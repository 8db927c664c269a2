//go:build !aurora_bundle

package cli

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

// A statements is a database that keeps what ran.
type statements struct{ ran []string }

func (s *statements) Exec(_ context.Context, st aurora.Statement) error {
	s.ran = append(s.ran, st.SQL)
	return nil
}

func (s *statements) Check(context.Context, aurora.Check) error { return nil }

// rollBack runs down with somebody at the terminal, who reads the question, waits
// until meanwhile has ended, and types yes. It returns the code and what was said
// on standard error.
func rollBack(t *testing.T, store aurora.Store, db *statements, dir string, meanwhile func(), args ...string) (int, string) {
	t.Helper()
	person, program := openTerminal(t)
	a, _, _ := testApp(t, nil)
	r, w := io.Pipe()
	a.in, a.err = program, w
	a.open = func(context.Context, *app, settings) (*target, error) {
		return &target{store: store, database: db, close: func(context.Context) error { return nil }}, nil
	}
	ended := make(chan int, 1)
	go func() {
		code := a.run(t.Context(), append([]string{"migrate", "down", "--url", "postgres://h/shop", "--dir", dir}, args...))
		_ = w.Close()
		ended <- code
	}()
	var said strings.Builder
	for in := bufio.NewReader(r); ; {
		b, err := in.ReadByte()
		if err != nil {
			break
		}
		said.WriteByte(b)
		if strings.HasSuffix(said.String(), "to go on: ") {
			meanwhile()
			if _, err := person.WriteString("shop\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return <-ended, said.String()
}

// A busyStore is one in which another run ends after the first look.
type busyStore struct {
	*auroratest.Memory
	another func()
}

func (s *busyStore) Latest(ctx context.Context) ([]aurora.Revision, error) {
	latest, err := s.Memory.Latest(ctx)
	if s.another != nil {
		s.another()
		s.another = nil
	}
	return latest, err
}

// What runs is what was confirmed: the question lists it, and when another run
// came in between, nothing runs.
func TestDownRunsWhatWasConfirmed(t *testing.T) {
	dir := migrationDir(t, map[string]string{
		"1_a.sql": "SELECT 1;", "1_a.down.sql": "SELECT -1;", "2_b.sql": "SELECT 2;", "2_b.down.sql": "SELECT -2;", "3_c.sql": "SELECT 3;", "3_c.down.sql": "SELECT -3;",
	})
	newStore := func() *auroratest.Memory {
		var store auroratest.Memory
		write(t, &store, up("1", aurora.Completed), up("2", aurora.Completed))
		return &store
	}
	const question = "This rolls back 2 migrations:\n  2_b\n  1_a\nType \"shop\" to go on: "

	db := &statements{}
	code, said := rollBack(t, newStore(), db, dir, func() {}, "--all")
	if diff := cmp.Diff([]string{"SELECT -2", "SELECT -1"}, db.ran); diff != "" || code != ExitDone || said != question {
		t.Errorf("exit code %d, said %q, ran (-want +got):\n%s", code, said, diff)
	}

	db, store := &statements{}, newStore()
	code, said = rollBack(t, store, db, dir, func() { write(t, store, up("3", aurora.Completed)) }, "--all")
	want := question + "Error: nothing ran: the history has moved since the plan was made, from 1.2.completed to 2.1.completed\n" +
		"hint: another run came between the question and your answer; ask again with the same command, and read its list again\n"
	if diff := cmp.Diff(want, said); diff != "" || code != ExitFailed || db.ran != nil {
		t.Errorf("exit code %d, ran %q, said (-want +got):\n%s", code, db.ran, diff)
	}

	// What was asked for elsewhere at a certain place stays asked for there.
	db = &statements{}
	code, said = rollBack(t, store, db, dir, func() { t.Error("it asks, for a history that has moved") }, "--all", "--expected-head", "1.2.completed")
	if code != ExitFailed || db.ran != nil || !strings.Contains(said, "the history has moved") {
		t.Errorf("exit code %d, ran %q, said %s", code, db.ran, said)
	}

	// Who confirms without a question confirms no list.
	db, store = &statements{}, newStore()
	busy := &busyStore{store, func() { write(t, store, up("3", aurora.Completed)) }}
	code, said = rollBack(t, busy, db, dir, func() { t.Error("it asks") }, "--all", "--confirm", "shop")
	if code != ExitDone || len(db.ran) != 3 || said != "" {
		t.Errorf("exit code %d, ran %q, said %s", code, db.ran, said)
	}
}

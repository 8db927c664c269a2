package localdsql_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql"
)

// TestRollbackAlwaysWorks even when every statement is to fail.
func TestRollbackAlwaysWorks(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{})
	c := dialRaw(t, cluster.URL())
	c.simple("BEGIN")
	cluster.Faults().Share(localdsql.FaultSchema, 1)
	if got := c.simple("SELECT 1"); got != "!40001 E" {
		t.Errorf("SELECT: %s", got)
	}
	if got := c.simple("ROLLBACK"); got != "[ROLLBACK] I" {
		t.Errorf("simple: %s", got)
	}
	cluster.Faults().Clear()
	c.simple("BEGIN")
	cluster.Faults().Share(localdsql.FaultSchema, 1)
	c.send(append(extended("ROLLBACK"), &pgproto3.Sync{})...)
	if got := c.ready(1); got != "[ROLLBACK] I" {
		t.Errorf("extended: %s", got)
	}
}

// TestPipelinesUnderFire has several clients insert rows, in pipelines of
// several transactions each, while another defines things and faults are
// injected: a row is there if, and only if, its client was told so.
func TestPipelinesUnderFire(t *testing.T) {
	t.Parallel()
	const clients, rounds, perRound = 6, 40, 5
	cluster := localdsql.StartCluster(t, localdsql.Config{})
	ask(t, cluster, "CREATE TABLE t (a int PRIMARY KEY, b int)")
	cluster.Faults().Share(localdsql.FaultConflict, 0.1)
	cluster.Faults().Share(localdsql.FaultSchema, 0.05)
	var mu sync.Mutex
	told := map[string]bool{}
	var work, definer sync.WaitGroup
	over := make(chan struct{})
	for n := range clients {
		c := dialRaw(t, cluster.URL())
		work.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(n)))
			for round := range rounds {
				var ids []string
				for i := range perRound {
					id := fmt.Sprint((n*rounds+round)*perRound + i)
					ids = append(ids, id)
					for _, m := range insertInSomeWay(r, id) {
						c.f.Send(m)
					}
					c.f.Send(&pgproto3.Query{String: "ROLLBACK"})
				}
				if err := c.f.Flush(); err != nil {
					t.Error(err)
					return
				}
				for _, id := range ids {
					answer := c.ready(1)
					if got := c.ready(1); got != "[ROLLBACK] I" {
						t.Errorf("ROLLBACK: %s", got)
					}
					mu.Lock()
					told[id] = strings.Contains(answer, "[COMMIT]") || answer == "[INSERT 0 1] I"
					mu.Unlock()
				}
			}
		})
	}
	c := dialRaw(t, cluster.URL())
	definer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			c.simple(fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d int", i))
			c.simple(fmt.Sprintf("CREATE INDEX ASYNC i%d ON t (b)", i))
			c.simple(fmt.Sprintf("ALTER TABLE t DROP COLUMN c%d", i))
			c.simple(fmt.Sprintf("DROP INDEX i%d", i))
		}
	})
	work.Wait()
	close(over)
	definer.Wait()
	cluster.Faults().Clear()
	answer := dialRaw(t, cluster.URL()).again("SELECT a FROM t") // a job may still end
	list, complete := strings.CutSuffix(answer, fmt.Sprintf("[SELECT %d] I", strings.Count(answer, "(")))
	if !complete {
		t.Fatalf("SELECT: %s", answer)
	}
	there := map[string]bool{}
	for _, field := range strings.Fields(list) {
		there[strings.Trim(field, "()")] = true
	}
	rows := 0
	for id, committed := range told {
		if committed != there[id] {
			t.Errorf("row %s: told %v, there %v", id, committed, there[id])
		}
		if committed {
			rows++
		}
	}
	if len(told) != clients*rounds*perRound || rows == 0 || rows == len(told) {
		t.Errorf("%d of %d rows were inserted", rows, len(told))
	}
}

// insertInSomeWay is a transaction that inserts a row.
func insertInSomeWay(r *rand.Rand, id string) []pgproto3.FrontendMessage {
	insert := "INSERT INTO t VALUES (" + id + ", 0)"
	switch r.IntN(4) {
	case 0:
		return append(extended(insert), &pgproto3.Sync{})
	case 1:
		return []pgproto3.FrontendMessage{&pgproto3.Query{String: insert}}
	case 2:
		return []pgproto3.FrontendMessage{&pgproto3.Query{String: "BEGIN; " + insert + "; SELECT 1; COMMIT; ROLLBACK"}}
	}
	var ms []pgproto3.FrontendMessage
	for _, sql := range []string{"BEGIN", "SELECT count(*) FROM t", insert, "COMMIT"} {
		ms = append(ms, extended(sql)...)
	}
	return append(ms, &pgproto3.Sync{})
}

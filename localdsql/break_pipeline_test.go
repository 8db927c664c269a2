package localdsql_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql"
	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// kind is what the rules of transactions see of a statement.
type kind byte

const (
	reads    kind = 'r'
	changes  kind = 'm' // rows
	defines  kind = 'd'
	begins   kind = 'b'
	ends     kind = 'e' // COMMIT and ROLLBACK
	refuses  kind = 'x' // Aurora DSQL does
	mistaken kind = 's' // a syntax error
)

var pipelined = map[kind][]string{
	reads: {"SELECT a FROM t ORDER BY a LIMIT 3", "SELECT 1/0", "SELECT count(*) FROM t", "SELECT * FROM nosuch", "SHOW search_path", "", "SELECT generate_series(1, 5)",
		"SET search_path = public", "SELECT a FROM t WHERE a = 1 FOR UPDATE"},
	changes: {"INSERT INTO t SELECT coalesce(max(a), 0) + 1, 0 FROM t", "INSERT INTO t VALUES (1, 1)", "UPDATE t SET b = b + 1 WHERE a = 1", "DELETE FROM t WHERE a = 2 RETURNING a",
		"WITH x AS (INSERT INTO t SELECT coalesce(max(a), 0) + 1, 7 FROM t RETURNING a) SELECT a FROM x", "UPDATE t SET b = b + 1 WHERE a = 3 RETURNING b", "UPDATE t SET b = 1 / (b - b)",
		"INSERT INTO once VALUES (3)", "INSERT INTO child VALUES (5, 5)", "DELETE FROM parent"},
	defines: {"CREATE TABLE u (a int PRIMARY KEY)", "DROP TABLE u", "CREATE TABLE IF NOT EXISTS u (a int PRIMARY KEY)", "CREATE VIEW v AS SELECT 1 AS a", "DROP VIEW IF EXISTS v",
		"COMMENT ON TABLE t IS 'x'", "GRANT SELECT ON t TO public", "ALTER TABLE t ADD COLUMN IF NOT EXISTS b int"},
	begins:   {"BEGIN", "BEGIN", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ"},
	ends:     {"COMMIT", "COMMIT", "ROLLBACK", "END"},
	refuses:  {"CREATE EXTENSION x", "SAVEPOINT s", "TRUNCATE t", "CREATE TABLE w (a int[])", "LISTEN x", "SET statement_timeout = 1"},
	mistaken: {"SELCT 1", "INSERT INTO", "SELECT 1; SELECT 2"},
}

// A step is a statement in the extended protocol, a Sync, or a Query.
type step struct {
	query  []string // statements of a Query
	kinds  []kind   // theirs, or that of sql
	sql    string
	sync   bool
	name   string // of statement and portal
	rows   uint32
	more   bool // executes the portal of that name once more
	silent bool // Flush before it
}

func randomSteps(r *rand.Rand) []step {
	weights := []kind{reads, reads, changes, changes, changes, defines, defines, begins, begins, ends, ends, refuses}
	pick := func() (string, kind) {
		k := weights[r.IntN(len(weights))]
		return pipelined[k][r.IntN(len(pipelined[k]))], k
	}
	var steps []step
	for range 4 + r.IntN(20) {
		switch r.IntN(10) {
		case 0, 1, 2:
			steps = append(steps, step{sync: true})
		case 3, 4:
			s := step{}
			for range 1 + r.IntN(4)*r.IntN(2) {
				sql, k := pick()
				s.query, s.kinds = append(s.query, sql), append(s.kinds, k)
			}
			// What of a Query behind writes without a Sync is run before a syntax
			// error is found is not PostgreSQL's.
			steps = append(steps, step{sync: true}, s)
		default:
			sql, k := pick()
			if r.IntN(20) == 0 {
				k = mistaken
				sql = pipelined[k][r.IntN(len(pipelined[k]))]
			}
			s := step{sql: sql, kinds: []kind{k}, silent: r.IntN(8) == 0}
			if r.IntN(3) == 0 {
				s.name = []string{"p", "q"}[r.IntN(2)]
				s.rows = uint32(r.IntN(3))
			}
			steps = append(steps, s)
			if s.name != "" && r.IntN(2) == 0 {
				steps = append(steps, step{more: true, name: s.name, kinds: s.kinds, rows: 1})
			}
		}
	}
	return append(steps, step{sync: true}, step{query: []string{"ROLLBACK"}, kinds: []kind{ends}})
}

const poison = `SELECT "aurora refuses"`

// messages are those of a step. Named statements are closed first, as the
// protocol wants it.
func (s step) messages(sql string) []pgproto3.FrontendMessage {
	var ms []pgproto3.FrontendMessage
	if s.silent {
		ms = append(ms, &pgproto3.Flush{})
	}
	if s.name != "" {
		ms = append(ms, &pgproto3.Close{ObjectType: 'S', Name: s.name}, &pgproto3.Close{ObjectType: 'P', Name: s.name})
	}
	return append(ms, &pgproto3.Parse{Name: s.name, Query: sql}, &pgproto3.Bind{DestinationPortal: s.name, PreparedStatement: s.name},
		&pgproto3.Describe{ObjectType: 'P', Name: s.name})
}

func (s step) execute() pgproto3.FrontendMessage {
	return &pgproto3.Execute{Portal: s.name, MaxRows: s.rows}
}

// A reference is PostgreSQL itself with Aurora DSQL's rules of transactions,
// one message at a time: it knows how each ended before it says the next.
type reference struct {
	*rawClient
	ddl, dml, skipping bool
	got                []string
}

// breaks says whether a statement breaks a rule.
func breaks(k kind, ddl, dml bool) bool {
	return k == refuses || k == defines && (ddl || dml) || k == changes && ddl
}

// note keeps account of the transaction.
func (p *reference) note(k kind) {
	switch k {
	case defines:
		p.ddl = true
	case changes:
		p.dml = true
	case ends:
		p.ddl, p.dml = false, false
	}
}

// round sends messages and a Flush, and reads until the last of them is
// answered.
func (p *reference) round(ms ...pgproto3.FrontendMessage) {
	p.t.Helper()
	p.send(append(ms, &pgproto3.Flush{})...)
	for n := len(ms); n > 0; {
		m, err := p.f.Receive()
		if err != nil {
			p.t.Fatalf("PostgreSQL, after %q: %v", p.got, err)
		}
		switch m.(type) {
		case *pgproto3.ErrorResponse:
			p.skipping, n = true, 0
		case *pgproto3.ParseComplete, *pgproto3.BindComplete, *pgproto3.CloseComplete, *pgproto3.NoData, *pgproto3.RowDescription,
			*pgproto3.CommandComplete, *pgproto3.PortalSuspended, *pgproto3.EmptyQueryResponse:
			n--
		}
		if text := brief(m); text != "" {
			p.got = append(p.got, text)
		}
	}
}

func (p *reference) do(s step) {
	p.t.Helper()
	switch {
	case s.sync:
		p.send(&pgproto3.Sync{})
		p.end()
	case s.query != nil && p.skipping: // until the Sync
	case s.query != nil:
		var sqls []string
		for i, sql := range s.query {
			if breaks(s.kinds[i], p.ddl, p.dml) {
				sqls = append(sqls, poison)
				break
			}
			sqls = append(sqls, sql)
			p.note(s.kinds[i])
		}
		// If one of them fails, what was noted does not matter: the transaction has
		// failed.
		p.send(&pgproto3.Query{String: strings.Join(sqls, ";")})
		p.end()
	case p.skipping:
	default:
		k := s.kinds[0]
		if !s.more {
			sql := s.sql
			if k == refuses {
				sql = poison
			}
			ms := s.messages(sql)
			p.round(slices.DeleteFunc(ms, func(m pgproto3.FrontendMessage) bool { _, flush := m.(*pgproto3.Flush); return flush })...)
		}
		if p.skipping {
			return
		}
		if breaks(k, p.ddl, p.dml) {
			p.round(&pgproto3.Parse{Name: "refused", Query: poison})
			return
		}
		if p.round(s.execute()); !p.skipping {
			p.note(k)
		}
	}
}

// end reads up to ReadyForQuery.
func (p *reference) end() {
	p.t.Helper()
	p.skipping = false
	text := p.ready(1)
	p.got = append(p.got, text)
	if strings.HasSuffix(text, "I") {
		p.ddl, p.dml = false, false
	}
}

const pipelineSchema = `CREATE TABLE t (a int PRIMARY KEY, b int); CREATE TABLE once (a int PRIMARY KEY); CREATE TABLE parent (a int PRIMARY KEY);
CREATE TABLE child (a int PRIMARY KEY, b int REFERENCES parent)`

// TestPipelines sends random pipelines, of all that Aurora DSQL accepts and some
// of what it refuses, all at once. They must have the answers and the effects
// that PostgreSQL has when it is asked step by step, and not asked for what
// breaks the rules.
func TestPipelines(t *testing.T) {
	t.Parallel()
	seed, rounds := uint64(1), 300
	if s := os.Getenv("BREAK_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed, rounds = n, 5000
	}
	plain, err := engine.Start(t.Context(), engine.Config{Throwaway: true, Find: engine.FindOptions{Major: 16}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plain.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	url := plain.URL("postgres")
	straight := dialRaw(t, url+"&default_transaction_isolation=repeatable%20read&timezone=UTC")
	proxied := dialRaw(t, localdsql.StartCluster(t, localdsql.Config{Conflicts: localdsql.ConflictsOff}).URL())
	for _, sql := range strings.Split(pipelineSchema, ";") {
		if got, want := proxied.simple(sql), straight.simple(sql); got != want || strings.Contains(got, "!") {
			t.Fatalf("%s: %s, PostgreSQL %s", sql, got, want)
		}
	}
	for i := range rounds {
		n := seed<<32 + uint64(i)
		steps := randomSteps(rand.New(rand.NewPCG(n, 1)))
		ref := &reference{rawClient: straight}
		var ms []pgproto3.FrontendMessage
		ready := 0
		for _, s := range steps {
			ref.do(s)
			switch {
			case s.sync:
				ms = append(ms, &pgproto3.Sync{})
			case s.query != nil:
				ms = append(ms, &pgproto3.Query{String: strings.Join(s.query, ";")})
			case s.more:
				ms = append(ms, s.execute())
			default:
				ms = append(append(ms, s.messages(s.sql)...), s.execute())
			}
			if s.sync || s.query != nil {
				ready++
			}
		}
		want := strings.ReplaceAll(strings.Join(ref.got, " "), "!42703", "!0A000")
		proxied.send(ms...)
		if got := proxied.ready(ready); got != want {
			t.Fatalf("seed %d:\n got %s\nwant %s\n%s", n, got, want, stepsText(steps))
		}
		const state = "SELECT (SELECT string_agg(a || ':' || b, ',' ORDER BY a) FROM t) || ' ' || (SELECT count(*) FROM once) || coalesce(to_regclass('u')::text, '') || coalesce(to_regclass('v')::text, '')"
		for _, sql := range []string{state, "DELETE FROM t WHERE a > 4", "DELETE FROM once", "DROP TABLE IF EXISTS u", "DROP VIEW IF EXISTS v"} {
			if got, want := proxied.simple(sql), straight.simple(sql); got != want {
				t.Fatalf("seed %d: %s: %s, want %s\n%s", n, sql, got, want, stepsText(steps))
			}
		}
	}
}

func stepsText(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		switch {
		case s.sync:
			b.WriteString("Sync\n")
		case s.query != nil:
			fmt.Fprintf(&b, "Query %s\n", strings.Join(s.query, "; "))
		default:
			fmt.Fprintf(&b, "%q rows %d again %v: %s\n", s.name, s.rows, s.more, s.sql)
		}
	}
	return b.String()
}

package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A unit is an item ready to run: its statements and what is known of them.
type unit struct {
	item       aurora.Item
	statements []aurora.Statement
	infos      []sqllex.Info
	// alone: every statement commits by itself.
	alone bool
	// resets: the session's settings may have been changed.
	resets bool
	// deallocates: prepared statements may be gone.
	deallocates bool
	checks      []query
}

// newUnits looks at everything that is to run before anything does.
func (db *DB) newUnits(items []aurora.Item) ([]unit, error) {
	units := make([]unit, len(items))
	for i, item := range items {
		statements, ok := item.Migration.Statements(item.Direction)
		if !ok {
			return nil, fmt.Errorf("%s has steps that are not statements", item.Migration.ID())
		}
		u := unit{item: item, statements: statements, infos: make([]sqllex.Info, len(statements)), alone: item.TxMode == aurora.TxNone}
		for j, s := range statements {
			u.infos[j] = sqllex.Classify(s.SQL)
			u.resets = u.resets || changesSettings(s.SQL, u.infos[j])
			u.deallocates = u.deallocates || u.infos[j].Kind == sqllex.Deallocate || u.infos[j].Kind == sqllex.Discard
		}
		if err := db.chooseMode(&u); err != nil {
			return nil, err
		}
		if item.Direction == aurora.Up {
			for _, c := range item.Migration.Checks {
				u.checks = append(u.checks, checkQueries(c)...)
			}
		}
		units[i] = u
	}
	return units, nil
}

// changesSettings reports whether a statement can leave the session with other
// settings or another role, which must not reach the next migration.
func changesSettings(sql string, info sqllex.Info) bool {
	switch info.Kind {
	case sqllex.Set, sqllex.Reset, sqllex.Discard, sqllex.Do, sqllex.Call, sqllex.Execute, sqllex.Load:
		return true
	case sqllex.Select:
		return true // a function may
	}
	return strings.Contains(strings.ToLower(sql), "set_config")
}

// chooseMode decides whether a unit is one transaction, and refuses what such
// a transaction cannot hold.
func (db *DB) chooseMode(u *unit) error {
	if u.alone {
		return nil
	}
	for j, info := range u.infos {
		s := u.statements[j]
		stepError := func(hint, format string, args ...any) error {
			return &aurora.StepError{
				Migration: u.item.Migration.ID(), Version: u.item.Migration.Version, Index: j,
				Step: s.SQL, Pos: s.Pos(), Hint: hint, Err: fmt.Errorf(format, args...),
			}
		}
		switch info.Kind {
		case sqllex.Begin, sqllex.Commit, sqllex.Rollback, sqllex.PrepareTransaction, sqllex.CommitPrepared, sqllex.RollbackPrepared:
			return stepError("remove it, or put \"-- atlas:txmode none\" and an empty line at the head of the file",
				"nothing ran: %s in a migration that already is one transaction", strings.ToUpper(firstWord(s.SQL)))
		}
		if !info.CannotRunInTransaction() {
			continue
		}
		if u.item.TxMode == aurora.TxFile && u.item.Migration.TxMode == aurora.TxFile || u.item.TxMode == aurora.TxAll {
			return stepError("put \"-- atlas:txmode none\" and an empty line at the head of the file, and run with --tx-mode file",
				"nothing ran: this statement cannot run in a transaction, which transaction mode %s asks for", u.item.TxMode)
		}
		if !u.alone {
			u.alone = true
			db.log.Debug("runs statement by statement, because one of them cannot run in a transaction",
				"migration", u.item.Migration.ID(), "statement", s.Pos())
		}
	}
	return nil
}

func firstWord(sql string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	return strings.TrimSuffix(word, ";")
}

// checkQueries turns a check into queries that fail on the server unless it
// holds, so that nobody has to look at the answer before going on.
func checkQueries(c aurora.Check) []query {
	holds := make([]string, len(c.Statements))
	for i, s := range c.Statements {
		// The line end closes a comment at the end of the statement.
		holds[i] = "(" + s.SQL + "\n) IS TRUE"
	}
	if c.OneOf && len(holds) > 0 {
		holds = []string{strings.Join(holds, " OR ")}
	}
	qs := make([]query, len(holds))
	for i, h := range holds {
		qs[i] = newQuery("SELECT 1 / (CASE WHEN " + h + " THEN 1 ELSE 0 END)")
	}
	return qs
}

// checkError says which check failed, and how.
func (u *unit) checkError(i int, err error) error {
	for _, c := range u.item.Migration.Checks {
		n := len(c.Statements)
		if c.OneOf {
			n = min(n, 1)
		}
		if i >= n {
			i -= n
			continue
		}
		s := c.Statements[i]
		e := &aurora.StepError{
			Migration: u.item.Migration.ID(), Version: u.item.Migration.Version, Step: s.SQL, Pos: s.Pos(),
			Hint: "nothing of the migration ran",
			Err:  aurora.ErrCheckFailed,
		}
		if !hasCode(err, "22012") {
			e.Err = fmt.Errorf("%w: %w", aurora.ErrCheckFailed, err)
		}
		return e
	}
	return err
}

// stepError puts the server's answer beside the statement it is about.
func (u *unit) stepError(j int, err error) error {
	e := &aurora.StepError{Migration: u.item.Migration.ID(), Version: u.item.Migration.Version, Index: j, Err: err}
	if j < 0 {
		e.Pos = u.item.Migration.Source
		return e
	}
	s := u.statements[j]
	e.Step, e.Pos = s.SQL, s.Pos()
	pgErr, ok := err.(*pgconn.PgError)
	if !ok {
		return e
	}
	if pgErr.Position > 0 && s.File != "" {
		line, col := position(s.SQL, int(pgErr.Position))
		e.Pos = s.File + ":" + strconv.Itoa(s.Line+line) + ":" + strconv.Itoa(col)
	}
	switch pgErr.Code {
	case "42P07", "42701", "42710", "42723", "42P06":
		e.Hint = "if the database already had this before aurora managed it, say where it stands: --baseline VERSION on the first apply"
	case "55P04":
		e.Hint = "a new enum value cannot be used in the transaction that adds it: use it in the next migration"
	}
	return e
}

// position turns PostgreSQL's position, in characters from 1, into lines
// below the first and a column from 1.
func position(sql string, pos int) (line, col int) {
	col = 1
	for _, r := range sql {
		if pos--; pos <= 0 {
			break
		}
		if r == '\n' {
			line, col = line+1, 1
		} else {
			col++
		}
	}
	return line, col
}

// settings are what a run needs of the session, whatever the server's or the
// role's defaults are: no time limit that cuts a migration short, and word of
// a dead client within half a minute. What the URL itself sets is left alone.
func (db *DB) settings() query {
	major := db.main.major.Load()
	all := [][2]string{
		{"standard_conforming_strings", "on"},
		{"default_transaction_isolation", "read committed"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"tcp_keepalives_idle", "10"},
		{"tcp_keepalives_interval", "5"},
		{"tcp_keepalives_count", "3"},
	}
	if major >= 14 {
		all = append(all, [2]string{"idle_session_timeout", "0"})
	}
	if major >= 17 {
		all = append(all, [2]string{"transaction_timeout", "0"})
	}
	var calls []string
	for _, s := range all {
		if _, ok := db.conn.RuntimeParams[s[0]]; ok || strings.Contains(db.conn.RuntimeParams["options"], s[0]) {
			continue
		}
		calls = append(calls, "set_config('"+s[0]+"', '"+s[1]+"', false)")
	}
	if len(calls) == 0 {
		return newQuery("SELECT 1")
	}
	return newQuery("SELECT " + strings.Join(calls, ", "))
}

// resetQueries bring the session back to where every migration starts.
func (db *DB) resetQueries() []query {
	return []query{newQuery("RESET SESSION AUTHORIZATION"), newQuery("RESET ALL"), db.settings()}
}

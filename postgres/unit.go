package postgres

import (
	"errors"
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
	// alone: statement by statement, also what goes on with such an attempt.
	alone bool
	// resets: the session's settings may have been changed.
	resets bool
	// temporary: temporary tables may be left, which would hide others.
	temporary bool
	// lead is how many SET TRANSACTION statements stand first: nothing may run
	// before them.
	lead int
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
		u := unit{item: item, statements: statements, infos: make([]sqllex.Info, len(statements)), alone: item.TxMode == aurora.TxNone || item.Resumes}
		for j, s := range statements {
			u.infos[j] = sqllex.Classify(s.SQL)
			u.resets = u.resets || changesSettings(s.SQL, u.infos[j])
			u.temporary = u.temporary || strings.Contains(strings.ToLower(s.SQL), "temp")
			if u.infos[j].Kind == sqllex.SetTransaction && u.lead == j {
				u.lead++
			}
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
	case sqllex.CreateTableAs, sqllex.RefreshMaterializedView:
		return true
	case sqllex.SetLocal, sqllex.SetConstraints, sqllex.Savepoint, sqllex.ReleaseSavepoint, sqllex.Lock, sqllex.Begin, sqllex.Commit, sqllex.Vacuum, sqllex.Analyze:
		return false
	}
	// Whatever runs functions or triggers may call set_config in them.
	return !info.IsDDL() || strings.Contains(strings.ToLower(sql), "set_config")
}

// chooseMode decides whether a unit is one transaction, and refuses what such
// a transaction cannot hold.
func (db *DB) chooseMode(u *unit) error {
	if m := u.item.Migration; len(u.statements) == 0 && m.Description == "" && u.item.Direction == aurora.Up {
		return &aurora.StepError{
			Migration: m.ID(), Version: m.Version, Pos: m.Source, Err: errors.New("nothing ran: the file holds no statement"),
			Hint: "write it, or delete it; a comment says that it is meant to be empty",
		}
	}
	for j, info := range u.infos {
		if hint, err := refusal(u, info, u.statements[j].SQL); err != nil {
			s := u.statements[j]
			return &aurora.StepError{
				Migration: u.item.Migration.ID(), Version: u.item.Migration.Version, Index: j,
				Step: s.SQL, Pos: s.Pos(), Hint: hint, Err: fmt.Errorf("nothing ran: %w", err),
			}
		}
	}
	for j, info := range u.infos {
		if !u.alone && info.CannotRunInTransaction() {
			u.alone = true
			db.log.Debug("runs statement by statement, because one of them cannot run in a transaction",
				"migration", u.item.Migration.ID(), "statement", u.statements[j].Pos())
		}
	}
	return nil
}

// refusal says why a statement cannot be run as the migration asks, and what to
// do about it.
func refusal(u *unit, info sqllex.Info, sql string) (hint string, err error) {
	asked := u.item.TxMode == aurora.TxFile && u.item.Migration.TxMode == aurora.TxFile || u.item.TxMode == aurora.TxAll
	word := strings.ToUpper(firstWord(sql))
	switch kind := info.Kind; {
	case info.Stdio:
		return "write INSERT statements, or let psql load the data", errors.New("COPY to or from the client has no data here")
	case kind == sqllex.PrepareTransaction, kind == sqllex.CommitPrepared, kind == sqllex.RollbackPrepared:
		return "commit it as usual", errors.New("a transaction that outlives its session cannot be followed")
	case (kind == sqllex.Commit || kind == sqllex.Rollback) && chains(sql):
		return "write COMMIT, and BEGIN after it", fmt.Errorf("%s AND CHAIN cannot be followed", word)
	case u.alone && kind == sqllex.Begin && sqllex.ContainsWord(sql, "only"):
		return "leave READ ONLY out", errors.New("the place could not be saved in a read-only transaction")
	case !u.alone && (kind == sqllex.Begin || kind == sqllex.Commit || kind == sqllex.Rollback):
		return "remove it, or put \"-- atlas:txmode none\" and an empty line at the head of the file",
			fmt.Errorf("%s in a migration that already is one transaction", word)
	case !u.alone && asked && info.CannotRunInTransaction():
		return "put \"-- atlas:txmode none\" and an empty line at the head of the file, and run with --tx-mode file",
			fmt.Errorf("this statement cannot run in a transaction, which transaction mode %s asks for", u.item.TxMode)
	}
	return "", nil
}

// chains reports COMMIT AND CHAIN.
func chains(sql string) bool {
	return sqllex.ContainsWord(sql, "chain") && !sqllex.ContainsWord(sql, "no")
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
	// The server quotes values, which may be megabytes.
	brief := *pgErr
	brief.Message, brief.Detail = cut(pgErr.Message), cut(pgErr.Detail)
	e.Err = &brief
	if pgErr.Position > 0 && s.File != "" {
		line, col := position(s.SQL, int(pgErr.Position))
		e.Pos = s.File + ":" + strconv.Itoa(s.Line+line) + ":" + strconv.Itoa(col)
	}
	switch pgErr.Code {
	case "42P07", "42701", "42710", "42723", "42P06":
		e.Hint = "if the database had this before its first apply, that apply has to say where it stood: --baseline VERSION (later it has no effect)"
	case "55P04":
		e.Hint = "a new enum value cannot be used in the transaction that adds it: use it in the next migration"
	}
	return e
}

// cut shortens what is too long to be read.
func cut(s string) string {
	const limit = 4 << 10
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + fmt.Sprintf(" … (%d bytes)", len(s))
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
// a dead client within seconds, half a minute if its machine is gone. What the
// URL itself sets is left alone.
func (db *DB) settings() query {
	major := db.main.major.Load()
	calls := []string{
		"set_config('standard_conforming_strings', 'on', false)", // as the lexer reads them
		"set_config('application_name', '" + strings.ReplaceAll(db.mark, "'", "''") + "', false)",
	}
	all := [][2]string{
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
	if major >= 14 {
		// Servers on systems that cannot tell refuse the setting.
		calls = append(calls, "CASE WHEN version() LIKE '%linux%' THEN set_config('client_connection_check_interval', '2s', false) END")
	}
	if major >= 17 {
		all = append(all, [2]string{"transaction_timeout", "0"})
	}
	for _, s := range all {
		if _, ok := db.conn.RuntimeParams[s[0]]; ok || strings.Contains(db.conn.RuntimeParams["options"], s[0]) {
			continue
		}
		calls = append(calls, "set_config('"+s[0]+"', '"+s[1]+"', false)")
	}
	return newQuery("SELECT " + strings.Join(calls, ", "))
}

// resetQueries bring the session back to where every migration starts.
func (db *DB) resetQueries(u *unit) []query {
	var qs []query
	if u.resets {
		qs = append(qs, newQuery("RESET SESSION AUTHORIZATION"), newQuery("RESET ALL"), db.settings())
	}
	if u.temporary {
		qs = append(qs, newQuery("DISCARD TEMP"))
	}
	return qs
}

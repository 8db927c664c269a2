package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A unit is an item ready to run: its statements and what is known of them.
type unit struct {
	item       aurora.Item
	statements []aurora.Statement
	sent       []pgstore.Spelling // the statements as PostgreSQL takes them
	infos      []sqllex.Info      // of what is sent
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
	checks      []pgstore.Query
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
			sent := pgstore.ForPostgreSQL(s.SQL)
			u.sent = append(u.sent, sent)
			u.infos[j] = sqllex.Classify(sent.Text)
			u.resets = u.resets || changesSettings(s.SQL, u.infos[j])
			u.temporary = u.temporary || hasTemporary(s.SQL)
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
				u.checks = append(u.checks, pgstore.CheckQueries(c)...)
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

// hasTemporary reports whether a statement may leave a temporary table.
func hasTemporary(sql string) bool { return strings.Contains(strings.ToLower(sql), "temp") }

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
			db.store.Log.Debug("runs statement by statement, because one of them cannot run in a transaction",
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

// resetQueries bring the session back to where every migration starts.
func (db *DB) resetQueries(u *unit) []pgstore.Query {
	var qs []pgstore.Query
	if u.resets {
		qs = append(qs, pgstore.NewQuery("RESET SESSION AUTHORIZATION"), pgstore.NewQuery("RESET ALL"), db.store.Settings())
	}
	if u.temporary {
		qs = append(qs, pgstore.NewQuery("DISCARD TEMP"))
	}
	return qs
}

// query sends statement j.
func (u *unit) query(j int) pgstore.Query {
	return pgstore.Query{SQL: u.sent[j].Text, Discard: true}
}

// stepError puts the server's answer beside the statement it is about.
func (u *unit) stepError(j int, err error) error {
	if j < 0 {
		return pgstore.StepError(u.item.Migration, j, aurora.Statement{}, err)
	}
	if pgErr, ok := err.(*pgconn.PgError); ok && pgErr.Position > 0 {
		at := *pgErr
		at.Position = u.sent[j].Position(pgErr.Position)
		err = &at
	}
	return pgstore.StepError(u.item.Migration, j, u.statements[j], err)
}

func (u *unit) checkError(i int, err error) error {
	return pgstore.CheckError(u.item.Migration, i, err)
}

// Review returns what is sent instead of statements that are written for
// Aurora DSQL, and which would be refused before anything runs.
func (db *DB) Review(m aurora.Migration, d aurora.Direction) []aurora.Review {
	var reviews []aurora.Review
	for i, step := range m.Steps(d) {
		s, ok := step.(aurora.Statement)
		if !ok {
			continue
		}
		if sent := pgstore.ForPostgreSQL(s.SQL); sent.Change != "" {
			reviews = append(reviews, aurora.Review{Statement: i, SQL: sent.Text, Changes: []string{sent.Change}})
		}
	}
	if _, ok := m.Statements(d); !ok {
		return reviews
	}
	_, err := db.newUnits([]aurora.Item{{Migration: m, Direction: d, TxMode: m.TxMode}})
	var refused *aurora.StepError
	if !errors.As(err, &refused) || len(m.Steps(d)) == 0 {
		return reviews
	}
	for i := range reviews {
		if reviews[i].Statement == refused.Index {
			reviews[i].Err = refused
			return reviews
		}
	}
	reviews = append(reviews, aurora.Review{Statement: refused.Index, Err: refused})
	slices.SortFunc(reviews, func(a, b aurora.Review) int { return a.Statement - b.Statement })
	return reviews
}

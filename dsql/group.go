package dsql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A unit is an item ready to run: its statements as they are sent, in steps.
type unit struct {
	item       aurora.Item
	statements []aurora.Statement
	sent       []string
	changes    [][]Change
	infos      []sqllex.Info // of what is sent
	steps      []step
	checks     []pgstore.Query
	// settles says that the session's settings may have been changed.
	settles bool
}

// A step is a statement, or a transaction that the migration itself begins and
// ends, and so what happens as a whole or not at all.
type step struct {
	first, end int // the statements [first, end)
	kind       stepKind
}

type stepKind int

const (
	// defining is what cannot be in a transaction with its checkpoint. It is
	// announced before it runs, and the catalog tells whether it happened.
	defining stepKind = iota
	// changing is what reads and changes rows, in one transaction with its
	// checkpoint.
	changing
	// harmless is what may be repeated at will.
	harmlessStep
)

// newUnits looks at everything that is to run before anything does.
func (db *DB) newUnits(items []aurora.Item) ([]*unit, error) {
	units := make([]*unit, len(items))
	for i, item := range items {
		if item.TxMode == aurora.TxAll {
			return nil, &aurora.RequestError{Reason: "Aurora DSQL takes one definition in a transaction and no changes of rows with it, so transaction mode all is not possible; leave --tx-mode out"}
		}
		var err error
		if units[i], err = db.newUnit(item); err != nil {
			return nil, err
		}
	}
	return units, nil
}

func (db *DB) newUnit(item aurora.Item) (*unit, error) {
	m := item.Migration
	statements, ok := m.Statements(item.Direction)
	if !ok {
		return nil, fmt.Errorf("%s has steps that are not statements", m.ID())
	}
	if len(statements) == 0 && m.Description == "" && item.Direction == aurora.Up {
		return nil, &aurora.StepError{
			Migration: m.ID(), Version: m.Version, Pos: m.Source, Err: errors.New("nothing ran: the file holds no statement"),
			Hint: "write it, or delete it; a comment says that it is meant to be empty",
		}
	}
	for _, f := range CheckMigration(db.profile, m, item.Direction) {
		if !f.Rewritten {
			return nil, f.StepError(m, item.Direction)
		}
	}
	u := &unit{item: item, statements: statements}
	for j, s := range statements {
		text, changes, err := Rewrite(s.SQL, db.profile)
		if err != nil {
			return nil, pgstore.StepError(m, j, s, err)
		}
		info := sqllex.Classify(text)
		if info.Stdio {
			e := pgstore.StepError(m, j, s, errors.New("nothing ran: COPY to or from the client has no data here"))
			e.Hint = "write INSERT statements, or let psql load the data"
			return nil, e
		}
		u.sent, u.changes, u.infos = append(u.sent, text), append(u.changes, changes), append(u.infos, info)
		u.settles = u.settles || isSetting(text, info)
	}
	if item.Direction == aurora.Up {
		for _, c := range m.Checks {
			u.checks = append(u.checks, pgstore.CheckQueries(c)...)
		}
	}
	return u, u.group()
}

// isSetting reports whether a statement changes the session's settings.
func isSetting(sql string, info sqllex.Info) bool {
	switch info.Kind {
	case sqllex.Set, sqllex.Reset:
		return true
	case sqllex.SetTransaction:
		return sqllex.ContainsWord(sql, "characteristics")
	case sqllex.Select:
		return sqllex.ContainsWord(sql, "set_config")
	}
	return false
}

// group puts the statements into steps.
func (u *unit) group() error {
	for i := 0; i < len(u.infos); {
		st := step{first: i, end: i + 1, kind: kindOf(u.infos[i])}
		if u.infos[i].Kind == sqllex.Begin {
			end, err := u.endOf(i)
			if err != nil {
				return err
			}
			st = step{first: i, end: end, kind: u.kindOfBlock(i, end)}
		}
		u.steps = append(u.steps, st)
		i = st.end
	}
	return nil
}

// endOf returns where the transaction ends that begins at i.
func (u *unit) endOf(i int) (int, error) {
	for j := i + 1; j < len(u.infos); j++ {
		if kind := u.infos[j].Kind; kind == sqllex.Commit || kind == sqllex.Rollback {
			return j + 1, nil
		}
	}
	e := pgstore.StepError(u.item.Migration, i, u.statements[i], errors.New("nothing ran: the migration ends inside a transaction that it began"))
	e.Hint = "add COMMIT"
	return 0, e
}

func kindOf(info sqllex.Info) stepKind {
	switch info.Kind {
	case sqllex.SetLocal:
		if strings.EqualFold(info.Name.Name, "role") {
			return defining // which may not write the history
		}
		return harmlessStep
	case sqllex.Set, sqllex.SetTransaction, sqllex.SetConstraints, sqllex.Reset, sqllex.Show, sqllex.Empty,
		sqllex.Commit, sqllex.Rollback, sqllex.Deallocate, sqllex.Analyze:
		return harmlessStep
	case sqllex.Select:
		return changing // it may call functions that write
	case sqllex.Explain, sqllex.Call:
		return defining
	}
	if info.IsDML() {
		return changing
	}
	return defining
}

// kindOfBlock decides about a transaction: the checkpoint is in it unless
// something there keeps it out.
func (u *unit) kindOfBlock(first, end int) stepKind {
	kind := changing
	for j := first + 1; j < end-1; j++ {
		if kindOf(u.infos[j]) == defining {
			kind = defining
		}
	}
	if u.infos[end-1].Kind == sqllex.Rollback || sqllex.ContainsWord(u.sent[first], "only") && kind == changing {
		return harmlessStep // READ ONLY, or nothing of it stays
	}
	return kind
}

// hasSettings reports that a transaction has settings of its own, such as a
// search_path, so that its names cannot be looked up from outside.
func (u *unit) hasSettings(st step) bool {
	for j := st.first; j < st.end; j++ {
		if u.infos[j].Kind == sqllex.SetLocal || isSetting(u.sent[j], u.infos[j]) {
			return true
		}
	}
	return false
}

// queries are the statements of a step as they are sent.
func (u *unit) queries(st step) []pgstore.Query {
	var qs []pgstore.Query
	for j := st.first; j < st.end; j++ {
		qs = append(qs, pgstore.Query{SQL: u.sent[j], Discard: !makesJob(u.infos[j])})
	}
	return qs
}

// stepError puts the server's answer beside the statement it is about, at the
// place in the file that it means.
func (u *unit) stepError(j int, err error) error {
	err = u.atSource(j, err)
	e := pgstore.StepError(u.item.Migration, j, u.statements[j], err)
	if hint := advise(err); hint != "" && e.Hint == "" {
		e.Hint = hint
	}
	return e
}

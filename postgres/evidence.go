package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// Evidence is what the catalog says about a statement that was announced
// before an earlier process died.
type evidence int

const (
	unknown evidence = iota
	happened
	missing // or harmless to repeat
)

const (
	// indexState returns one row when the index exists: whether it is usable.
	indexState = `SELECT (i.indisvalid AND i.indisready)::text FROM pg_catalog.pg_index i
	WHERE i.indexrelid = to_regclass($1)`
	// indexOf finds the schema-qualified name of an index through its table,
	// since CREATE INDEX never says the schema: it is the table's.
	indexOf = `SELECT quote_ident(n.nspname) || '.' || quote_ident($2) FROM pg_catalog.pg_class t
	JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace WHERE t.oid = to_regclass($1)`
	databaseExists   = `SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1`
	tablespaceExists = `SELECT 1 FROM pg_catalog.pg_tablespace WHERE spcname = $1`
)

// happened decides about statement i where an earlier process announced it
// and died. Nothing is looked up otherwise.
func (a *loner) happened(ctx context.Context, i int) (bool, error) {
	if !a.unit.item.Resumes || a.unit.item.Revision.Begun <= i {
		return false, nil
	}
	found, err := a.look(ctx, a.unit.infos[i])
	if err != nil {
		return false, err
	}
	switch {
	case found == happened:
		a.db.store.Log.Info("already done by an earlier run, as the catalog shows", "statement", a.unit.statements[i].Pos())
		return true, nil
	case found == missing, a.unit.item.Unsure == aurora.UnsureRerun:
		return false, nil
	case a.unit.item.Unsure == aurora.UnsureSkip:
		return true, nil
	}
	s := a.unit.statements[i]
	return false, &aurora.UnsureError{Migration: a.unit.item.Migration.ID(), Index: i, Step: s.SQL, Pos: s.Pos()}
}

// look asks the catalog whether a statement that runs outside a transaction
// has had its effect.
func (a *loner) look(ctx context.Context, info sqllex.Info) (evidence, error) {
	switch info.Kind {
	case sqllex.CreateIndex:
		if info.Name.IsZero() {
			return unknown, nil
		}
		_, state, err := a.index(ctx, info)
		switch {
		case err != nil:
			return unknown, err
		case state == "true":
			return happened, nil
		}
		return missing, nil // an invalid one is dropped before the statement runs
	case sqllex.DropIndex:
		for _, name := range info.Names {
			rows, err := a.ask(ctx, indexState, name.String())
			if err != nil {
				return unknown, err
			}
			if len(rows) > 0 {
				return missing, nil
			}
		}
		return happened, nil
	case sqllex.Vacuum, sqllex.Analyze, sqllex.Reindex, sqllex.Cluster, sqllex.RefreshMaterializedView, sqllex.Checkpoint:
		return missing, nil
	case sqllex.CreateOther, sqllex.DropOther:
		return a.lookForObject(ctx, info)
	case sqllex.AlterOther:
		if info.Object == "SYSTEM" {
			return missing, nil
		}
	}
	return unknown, nil
}

func (a *loner) lookForObject(ctx context.Context, info sqllex.Info) (evidence, error) {
	sql := map[string]string{"DATABASE": databaseExists, "TABLESPACE": tablespaceExists}[info.Object]
	if sql == "" {
		return unknown, nil
	}
	rows, err := a.ask(ctx, sql, info.Name.Name)
	if err != nil {
		return unknown, err
	}
	if (len(rows) > 0) == (info.Kind == sqllex.CreateOther) {
		return happened, nil
	}
	return missing, nil
}

// index returns the full name of the index that a CREATE INDEX makes and
// whether it is valid: "true", "false", or "" when it does not exist.
func (a *loner) index(ctx context.Context, info sqllex.Info) (name, state string, err error) {
	rows, err := a.ask(ctx, indexOf, info.Table.String(), info.Name.Name)
	if err != nil || len(rows) == 0 {
		return "", "", err
	}
	name = string(rows[0][0])
	rows, err = a.ask(ctx, indexState, name)
	if err != nil || len(rows) == 0 {
		return name, "", err
	}
	return name, string(rows[0][0]), nil
}

// dropLeftover drops the invalid index that a failed or killed concurrent
// build leaves under the name that info is about to create. IF NOT EXISTS
// would accept it, and it would go on refusing duplicates.
func (a *loner) dropLeftover(ctx context.Context, info sqllex.Info) error {
	if info.Kind != sqllex.CreateIndex || !info.Concurrently || info.Name.IsZero() {
		return nil
	}
	name, state, err := a.index(ctx, info)
	if err != nil || state != "false" {
		return err
	}
	// Without the lease the index may be the next holder's.
	if err := a.lease.Renew(ctx); err != nil {
		return err
	}
	a.db.store.Log.Warn("dropping the invalid index that a build which did not finish left behind", "index", name)
	if err := pgstore.First(a.db.store.Main.Run(ctx, pgstore.Apart(pgstore.NewQuery("DROP INDEX CONCURRENTLY IF EXISTS "+name)))); err != nil {
		return fmt.Errorf("drop the invalid index %s: %w", name, err)
	}
	return nil
}

func (a *loner) ask(ctx context.Context, sql, name string, more ...string) ([][][]byte, error) {
	args := []any{name}
	for _, m := range more {
		args = append(args, m)
	}
	answers, err := a.db.store.Main.Run(ctx, pgstore.Apart(pgstore.NewQuery(sql, args...)))
	if err := pgstore.First(answers, err); err != nil {
		return nil, fmt.Errorf("look for %s: %w", strings.Join(append([]string{name}, more...), " on "), err)
	}
	return answers[0].Rows, nil
}

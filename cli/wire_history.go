package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/filestore"
)

// A historyPlace is where the history is kept when it is not in the database.
// One of its fields is set.
type historyPlace struct {
	table *dynamo.Config
	file  *filestore.Config
}

// parseHistory reads the URL of a history, with the project that the settings
// name.
func parseHistory(s settings) (historyPlace, error) {
	scheme, _, _ := strings.Cut(s.history, "://")
	var h historyPlace
	var inURL *string
	switch scheme {
	case "dynamodb":
		cfg, err := dynamo.ParseURL(s.history)
		if err != nil {
			return h, &usageError{Err: fmt.Errorf("where the history is kept: %w", err)}
		}
		h.table, inURL = &cfg, &cfg.Project
	case "file":
		cfg, err := filestore.ParseURL(s.history)
		if err != nil {
			return h, &usageError{Err: fmt.Errorf("where the history is kept: %w", err)}
		}
		if s.historyInFile && s.project != nil && !filepath.IsAbs(cfg.Path) {
			cfg.Path = filepath.Join(s.project.ConfigDir, cfg.Path)
		}
		h.file, inURL = &cfg, &cfg.Project
	default:
		return h, &usageError{
			Err:  fmt.Errorf("a history cannot be kept at %q", s.history),
			Hint: "write dynamodb://TABLE?region=…, or file://.aurora/history.db; one that is in the database itself needs no url of its own",
		}
	}
	if *inURL != "" && s.name != "" && *inURL != s.name {
		return h, &usageError{
			Err:  fmt.Errorf("two names for the project: %q in the history's url, and %q", *inURL, s.name),
			Hint: "name it once",
		}
	}
	*inURL = cmp.Or(*inURL, s.name)
	return h, nil
}

// checkHistory refuses what can be seen to be wrong with a history that is not
// in the database, and fills in the project that its URL names.
func checkHistory(s *settings) error {
	h, err := parseHistory(*s)
	if err != nil {
		return err
	}
	if s.schema != "" {
		return &usageError{
			Err:  fmt.Errorf("the schema %q for the history's tables means nothing, as the history is not in the database", s.schema),
			Hint: "remove revisions_schema or --revisions-schema, or the history's url",
		}
	}
	if h.table != nil {
		s.name = h.table.Project
	} else {
		s.name = h.file.Project
	}
	return nil
}

// checkPlace refuses migrations that cannot be what they ask to be where the
// history is not in the database.
func checkPlace(s settings, migrations []aurora.Migration) error {
	if s.history == "" {
		return nil
	}
	for _, m := range migrations {
		if s.url == "" && needsDatabase(m) {
			return &usageError{
				Err:  fmt.Errorf("%s: it is SQL, and there is no database to run it on", cmp.Or(m.Source, m.ID())),
				Hint: "set url in the env block or give --url, or keep migrations for other databases in a directory of their own",
			}
		}
		if m.TxMode == aurora.TxFile || m.TxMode == aurora.TxAll {
			return &usageError{
				Err:  fmt.Errorf("%s: it asks for one transaction, and where the history is not in the database every statement commits by itself", cmp.Or(m.Source, m.ID())),
				Hint: "remove the directive atlas:txmode, or keep the history in the database",
			}
		}
	}
	return nil
}

// checkTxMode is checkPlace for what a run asks for.
func checkTxMode(s settings, mode aurora.TxMode) error {
	if s.history == "" || mode != aurora.TxFile && mode != aurora.TxAll {
		return nil
	}
	return &usageError{
		Err:  fmt.Errorf("transaction mode %s is not possible where the history is not in the database: every statement commits by itself", mode),
		Hint: "remove tx_mode or --tx-mode, or keep the history in the database",
	}
}

// needsDatabase reports whether a part of a migration is SQL, or would be: a new
// file is empty.
func needsDatabase(m aurora.Migration) bool {
	if strings.HasSuffix(m.Source, ".sql") {
		return true
	}
	isSQL := func(s aurora.Step) bool { _, ok := s.(aurora.Statement); return ok }
	return len(m.Checks) > 0 || slices.ContainsFunc(m.Up, isSQL) || slices.ContainsFunc(m.Down, isSQL)
}

// checkMoved refuses to begin a history elsewhere while the database still has
// one of its own: everything would run again.
func checkMoved(ctx context.Context, t *target, req aurora.Request) error {
	old, ok := t.database.(aurora.Store)
	if !ok || t.place == "" || req.Baseline != "" {
		return nil
	}
	latest, err := t.store.Latest(ctx)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	if len(latest) > 0 {
		return nil
	}
	if latest, err = old.Latest(ctx); err != nil {
		return fmt.Errorf("look for a history in the database: %w", err)
	}
	current := ""
	for _, r := range latest {
		if r.IsApplied() {
			current = r.Version
		}
	}
	if current == "" {
		return nil
	}
	return &usageError{
		Err:  fmt.Errorf("the database has a history of its own, up to version %s, and there is none in the %s yet: everything would run again", current, t.place),
		Hint: "if the history is to move there: aurora migrate set " + current + "; if not, remove the history's url",
	}
}

// refusedAhead returns why the database would not take what is going to run,
// before any of it runs. A database that keeps the history does so itself.
func (a *app) refusedAhead(ctx context.Context, t *target, runner *aurora.Runner, req aurora.Request) error {
	review := t.reviewer()
	if _, ok := t.store.(aurora.Streamer); ok || review == nil {
		return nil
	}
	plan, err := runner.Plan(ctx, req)
	if err != nil {
		return err
	}
	_, err = a.plannedFiles(plan, review)
	return err
}

// openHistory opens a history that is not in the database. It asks nobody
// anything yet.
func openHistory(ctx context.Context, a *app, s settings) (*target, error) {
	h, err := parseHistory(s)
	if err != nil {
		return nil, err
	}
	t := &target{close: func(context.Context) error { return nil }}
	if h.file != nil {
		h.file.Logger = a.log
		store, err := filestore.Open(*h.file)
		if err != nil {
			return nil, &usageError{Err: err}
		}
		t.store, t.kind, t.place = store, "file", store.String()
		return t, nil
	}
	h.table.Logger = a.log
	store, err := dynamo.Open(ctx, *h.table)
	if err != nil {
		return nil, &usageError{Err: err}
	}
	t.store, t.kind, t.place = store, "dynamodb", store.String()
	if store.IsLocal() {
		t.store = localTable{store}
	}
	return t, nil
}

// A localTable is one of a stand-in on this machine: the first run creates it,
// and until then it has no history. Elsewhere tables belong to the
// infrastructure, and a missing one is a mistake.
type localTable struct{ *dynamo.Store }

// Latest takes a missing table for one without history.
func (t localTable) Latest(ctx context.Context) ([]aurora.Revision, error) {
	latest, err := t.Store.Latest(ctx)
	var refused *net.OpError
	if errors.As(err, &refused) {
		err = withHint(err, "nothing answers there: start the stand-in for DynamoDB, or correct the endpoint")
	}
	return latest, unlessNoTable(err)
}

// Revision takes a missing table for one without history.
func (t localTable) Revision(ctx context.Context, execution, version string) (aurora.Revision, error) {
	revision, err := t.Store.Revision(ctx, execution, version)
	if isNoTable(err) {
		err = fmt.Errorf("version %s of execution %s: %w", version, execution, aurora.ErrNotFound)
	}
	return revision, err
}

// Revisions takes a missing table for one without history.
func (t localTable) Revisions(ctx context.Context, version, cursor string, limit int) ([]aurora.Revision, string, error) {
	revisions, next, err := t.Store.Revisions(ctx, version, cursor, limit)
	return revisions, next, unlessNoTable(err)
}

// Executions takes a missing table for one without history.
func (t localTable) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	executions, next, err := t.Store.Executions(ctx, cursor, limit)
	return executions, next, unlessNoTable(err)
}

// Locked takes a missing table for one whose lease is free.
func (t localTable) Locked(ctx context.Context) (*aurora.LockedError, error) {
	locked, err := t.Store.Locked(ctx)
	return locked, unlessNoTable(err)
}

// Acquire creates the table if it is missing.
func (t localTable) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	lease, err := t.Store.Acquire(ctx, holder, ttl)
	if !isNoTable(err) {
		return lease, err
	}
	if err := t.CreateTable(ctx); err != nil {
		return nil, err
	}
	return t.Store.Acquire(ctx, holder, ttl)
}

func unlessNoTable(err error) error {
	if isNoTable(err) {
		return nil
	}
	return err
}

// isNoTable reports whether a history's table does not exist.
func isNoTable(err error) bool { return errors.Is(err, dynamo.ErrNoTable) }

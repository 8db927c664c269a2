package dsql

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
)

// addActivity says of revisions that are not completed what became of their
// jobs, which go on without the process that made them.
func (db *DB) addActivity(ctx context.Context, revisions []aurora.Revision) {
	ask := func(ctx context.Context, sql string, args ...string) ([][][]byte, error) {
		values := make([]any, len(args))
		for i, a := range args {
			values[i] = a
		}
		return db.store.Read(ctx, pgstore.NewQuery(sql, values...))
	}
	for i, r := range revisions {
		var p stored
		if r.State == aurora.Completed || r.Checkpoint == nil || json.Unmarshal(r.Checkpoint, &p) != nil || len(p.Jobs) == 0 {
			continue
		}
		states, err := pollJobs(ctx, ask, p.Jobs)
		if err != nil {
			db.log.Debug("asking what became of jobs", "migration", r.ID(), "err", err)
			continue
		}
		texts := make([]string, len(states))
		for k, s := range states {
			texts[k] = s.outcome()
		}
		revisions[i].Activity = strings.Join(texts, "; ")
	}
}

// outcome says what became of the job.
func (s jobState) outcome() string {
	what := "index "
	if s.Kind == validateJob {
		what = "constraint "
	}
	what += s.name()
	switch {
	case s.running():
		return s.String()
	case s.valid:
		return what + " is valid"
	case s.details != "":
		return what + " did not get ready: " + s.details
	}
	return what + " is not valid, and nothing works on it"
}

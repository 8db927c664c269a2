package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// bootstrapQueries create what Latest found missing.
func (s *Store) bootstrapQueries() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hasTables {
		return nil
	}
	var qs []Query
	if !s.hasSchema {
		qs = append(qs, NewQuery(s.SQL.createSchema))
	}
	for _, sql := range s.SQL.bootstrap {
		qs = append(qs, NewQuery(sql))
	}
	return qs
}

// bootstrap creates the tables. Others may be doing the same: PostgreSQL's
// IF NOT EXISTS is not safe against that, so losing such a race means looking
// again.
func (s *Store) bootstrap(ctx context.Context) error {
	s.mu.Lock()
	s.hasTables = false
	s.mu.Unlock()
	groups := Together(s.bootstrapQueries()...)
	if s.Dialect.SeparateDDL {
		groups = Apart(groups[0]...)
	}
	for try := 0; ; try++ {
		err := First(s.History(ctx, groups))
		switch {
		case err == nil:
			s.haveTables()
			return nil
		case HasCode(err, "42501"):
			return fmt.Errorf("create the history's tables in schema %s: %w (grant CREATE on the database or the schema, or name another with revisions_schema)", s.Schema, err)
		case try < 20 && HasCode(err, "23505", "42P06", "42P07", "42710", "40001", "XX000"):
		default:
			return fmt.Errorf("create the history's tables in schema %s: %w", s.Schema, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(5+rand.N(25*(try+1))) * time.Millisecond):
		}
	}
}

// haveTables takes note that the tables are there: every definition, even one
// that finds nothing to do, is a change of the schema to the others' sessions.
func (s *Store) haveTables() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hasSchema, s.hasTables = true, true
}

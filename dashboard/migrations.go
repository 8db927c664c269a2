package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

// Limits of one answer.
const (
	defaultMigrations = 50
	maxMigrations     = 500
	maxAttempts       = 20
	maxListError      = 300       // bytes of an error in a list
	maxTexts          = 1 << 20   // bytes of statements in a list of attempts
	maxStatement      = 64 << 10  // bytes of one statement
	maxStatements     = 1000      // of one migration
	maxDescription    = 256 << 10 // bytes
)

func (s *server) getSummary(w http.ResponseWriter, r *http.Request) error {
	snap, err := s.snapshot(r.Context(), historyAge)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, s.summaryOf(snap))
}

// summaryOf is the snapshot's, with what changes from one moment to the next.
func (s *server) summaryOf(snap *snapshot) summaryJSON {
	sum := snap.summary
	sum.Run, sum.Now = s.run(snap), time.Now().UTC()
	return sum
}

func (s *server) getLock(w http.ResponseWriter, r *http.Request) error {
	lock, err := s.locked(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, s.lockOf(lock))
}

// limitOf reads the parameter limit.
func limitOf(q url.Values, usual, most int) (int, error) {
	raw := q.Get("limit")
	if raw == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n < 1 {
		return 0, problemf(http.StatusBadRequest, "bad_request", "limit must be a number from 1 to %d.", most)
	}
	return min(n, most), nil
}

// A filter is what the parameters of a list ask for.
type filter struct {
	statuses, kinds, words []string
}

func filterOf(q url.Values) (filter, error) {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
	}
	f := filter{split(q.Get("status")), split(q.Get("kind")), strings.Fields(strings.ToLower(clip(q.Get("q"), 500)))}
	statuses := []string{
		"completed", "unfinished", "edited", aurora.StatusApplied, aurora.StatusPending, aurora.StatusRolledBack, aurora.StatusCovered,
		aurora.StatusOutOfOrder, aurora.StatusMissing, aurora.StatusAhead, string(aurora.Running), string(aurora.Paused),
		string(aurora.Failed), string(aurora.Interrupted),
	}
	kinds := []string{"sql", "go", string(aurora.Applied), string(aurora.Baseline), string(aurora.Resolved), string(aurora.Imported)}
	for _, c := range []struct {
		name        string
		given, want []string
	}{{"status", f.statuses, statuses}, {"kind", f.kinds, kinds}} {
		for _, v := range c.given {
			if !slices.Contains(c.want, v) {
				return f, problemf(http.StatusBadRequest, "bad_request", "There is no %s %q: want one of %s.", c.name, clip(v, 50), strings.Join(c.want, ", "))
			}
		}
	}
	return f, nil
}

func (f filter) accepts(e entry) bool {
	if len(f.statuses) > 0 && !slices.ContainsFunc(f.statuses, e.is) {
		return false
	}
	if len(f.kinds) > 0 && !slices.ContainsFunc(f.kinds, func(kind string) bool {
		return e.language() == kind || e.revision != nil && string(e.revision.Kind) == kind
	}) {
		return false
	}
	if len(f.words) == 0 {
		return true
	}
	text := e.id
	if e.migration != nil {
		text += "\n" + e.migration.Description
	}
	if e.revision != nil {
		text += "\n" + e.revision.Error
	}
	text = strings.ToLower(text)
	return !slices.ContainsFunc(f.words, func(word string) bool { return !strings.Contains(text, word) })
}

// getMigrations answers with a page of migrations. The cursor is the version
// of the page's last, so that pages stay apart while others are added.
func (s *server) getMigrations(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := limitOf(q, defaultMigrations, maxMigrations)
	if err != nil {
		return err
	}
	f, err := filterOf(q)
	if err != nil {
		return err
	}
	order := q.Get("order")
	if order != "" && order != "asc" && order != "desc" {
		return problemf(http.StatusBadRequest, "bad_request", "order must be asc or desc.")
	}
	snap, err := s.snapshot(r.Context(), historyAge)
	if err != nil {
		return err
	}
	out := struct {
		Migrations []migrationJSON `json:"migrations"`
		Next       string          `json:"next"`
		Total      int             `json:"total"`
		Head       string          `json:"head"`
	}{Migrations: []migrationJSON{}, Head: snap.head}
	cursor := q.Get("cursor")
	last := ""
	for i := range snap.entries {
		if order != "asc" {
			i = len(snap.entries) - 1 - i
		}
		e := snap.entries[i]
		if !f.accepts(e) {
			continue
		}
		out.Total++
		if cursor != "" {
			c := aurora.CompareVersions(e.version(), cursor)
			if c == 0 || (c > 0) != (order == "asc") {
				continue
			}
		}
		switch {
		case len(out.Migrations) < limit:
			out.Migrations = append(out.Migrations, s.migrationOf(snap, e))
			last = e.version()
		case out.Next == "":
			out.Next = last
		}
	}
	return reply(w, http.StatusOK, out)
}

// find returns the migration that a path names.
func (s *server) find(r *http.Request) (*snapshot, entry, error) {
	snap, err := s.snapshot(r.Context(), historyAge)
	if err != nil {
		return nil, entry{}, err
	}
	id := r.PathValue("id")
	i, ok := snap.index[id]
	if !ok {
		return nil, entry{}, problemf(http.StatusNotFound, "not_found", "No migration has the ID %q.", clip(id, 200))
	}
	return snap, snap.entries[i], nil
}

// attempts returns a page of those at a migration, newest first, without their
// texts. The cursor is a spelling of the version and the store's cursor in it:
// who renames a file does not go back and forth between two spellings.
func (s *server) attempts(ctx context.Context, e entry, cursor string) (page []aurora.Revision, next string, err error) {
	start, isFirst := 0, cursor == ""
	if !isFirst {
		escaped, inner, _ := strings.Cut(cursor, ":")
		version, err := url.QueryUnescape(escaped)
		start = slices.IndexFunc(e.spellings, func(r *aurora.Revision) bool { return r.Version == version })
		if err != nil || start < 0 {
			return nil, "", badCursor(cursor)
		}
		cursor = inner
	}
	if s.history != nil {
		for _, r := range e.spellings[start:] {
			if len(page) == maxAttempts {
				return page, url.QueryEscape(r.Version) + ":", nil
			}
			found, after, err := s.history.Revisions(ctx, r.Version, cursor, maxAttempts-len(page))
			if err != nil {
				return nil, "", cursorError(fmt.Errorf("read the attempts: %w", err), cursor)
			}
			page = append(page, found...)
			if after != "" {
				return page, url.QueryEscape(r.Version) + ":" + after, nil
			}
			cursor = ""
		}
	}
	if len(page) == 0 && isFirst && e.revision != nil {
		// Of another tool's history there is only this.
		return []aurora.Revision{*e.revision}, "", nil
	}
	return page, "", nil
}

// attempt returns one attempt at a migration, whole.
func (s *server) attempt(ctx context.Context, e entry, execution string) (aurora.Revision, error) {
	if s.history != nil {
		for _, spelling := range e.spellings {
			r, err := s.history.Revision(ctx, execution, spelling.Version)
			if err == nil || !errors.Is(err, aurora.ErrNotFound) {
				return r, err
			}
		}
	}
	if e.revision != nil && e.revision.ExecutionID == execution {
		return *e.revision, nil
	}
	return aurora.Revision{}, problemf(http.StatusNotFound, "not_found", "%s was not part of the execution %q.", e.id, clip(execution, 100))
}

func (s *server) getMigration(w http.ResponseWriter, r *http.Request) error {
	snap, e, err := s.find(r)
	if err != nil {
		return err
	}
	cursor := r.URL.Query().Get("cursor")
	page, next, err := s.attempts(r.Context(), e, cursor)
	if err != nil {
		return err
	}
	if cursor == "" && len(page) > 0 {
		// Only the newest has its output here: whoever looks at another one asks
		// for it.
		if page[0], err = s.attempt(r.Context(), e, page[0].ExecutionID); err != nil {
			return err
		}
	}
	lock, err := s.lockOver(r.Context(), snap.lock, page)
	if err != nil {
		return err
	}
	type directions struct {
		Up   []statementJSON `json:"up"`
		Down []statementJSON `json:"down"`
	}
	out := struct {
		Migration   migrationJSON `json:"migration"`
		Description string        `json:"description,omitempty"`
		Statements  *directions   `json:"statements,omitempty"`
		Attempts    []attemptJSON `json:"attempts"`
		Next        string        `json:"next"`
		Head        string        `json:"head"`
	}{Migration: s.migrationOf(snap, e), Attempts: []attemptJSON{}, Next: next, Head: snap.head}
	if m := e.migration; m != nil {
		out.Description = m.Description
		budget := maxTexts
		limits := textLimits{maxStatements, maxStatement, &budget}
		out.Statements = &directions{s.statementsOf(*m, aurora.Up, limits), s.statementsOf(*m, aurora.Down, limits)}
	} else if len(page) > 0 {
		out.Description = page[0].Description
	}
	out.Description = clip(s.hideInSource(out.Description), maxDescription)
	texts := maxTexts
	for i, rev := range page {
		left := texts
		a := s.attemptOf(lock, e, rev, &left)
		a.OutputOmitted = rev.Foreign == "" && (i > 0 || cursor != "")
		if texts = left; texts < 0 && len(out.Attempts) > 0 {
			a.Statements = nil
		}
		out.Attempts = append(out.Attempts, a)
	}
	return reply(w, http.StatusOK, out)
}

// pageOf cuts a page out of a list whose cursor is a place in it.
func pageOf[T any](all []T, cursor string, limit int) (page []T, next string, err error) {
	start := 0
	if cursor != "" {
		if start, err = strconv.Atoi(cursor); err != nil || start < 0 {
			return nil, "", badCursor(cursor)
		}
	}
	start = min(start, len(all))
	end := min(start+limit, len(all))
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	return all[start:end], next, nil
}

// getAttempt answers with one attempt and all its output. A page asks again
// and again while it runs.
func (s *server) getAttempt(w http.ResponseWriter, r *http.Request) error {
	snap, e, err := s.find(r)
	if err != nil {
		return err
	}
	rev, err := s.attempt(r.Context(), e, r.PathValue("execution"))
	if err != nil {
		return err
	}
	lock, err := s.lockOver(r.Context(), snap.lock, []aurora.Revision{rev})
	if err != nil {
		return err
	}
	budget := maxTexts
	return replyTagged(w, r, s.attemptOf(lock, e, rev, &budget))
}

// migrationOf describes a migration for a list.
func (s *server) migrationOf(snap *snapshot, e entry) migrationJSON {
	out := migrationJSON{ID: e.id, Version: e.version(), Status: e.status, Edited: e.edited, Language: e.language(), Died: e.died}
	if m := e.migration; m != nil {
		reversible := len(m.Down) > 0 && m.Irreversible == ""
		out.Name, out.Source, out.Reversible, out.Statements = m.Name, s.hideInSource(m.Source), &reversible, len(m.Up)
		if !reversible {
			out.Irreversible = s.hideInSource(irreversible(*m))
		}
	}
	r := e.revision
	if r == nil {
		return out
	}
	if e.migration == nil {
		out.Name = r.Name
	}
	out.Kind, out.Foreign, out.State, out.Direction, out.ExecutionID = r.Kind, r.Foreign, r.State, string(r.Direction), r.ExecutionID
	out.StartedAt, out.FinishedAt = r.StartedAt.UTC(), r.FinishedAt.UTC()
	out.Steps, out.Done = &r.Steps, &r.Done
	if !r.FinishedAt.IsZero() {
		out.DurationMs = between(r.StartedAt, r.FinishedAt)
	}
	out.Error = clip(s.hide(r.Error), maxListError)
	holder := s.holderOf(r.Holder)
	out.Holder, out.Operator = &holder, s.hide(r.Operator)
	if r.State == aurora.Running && !e.died {
		out.Progress = s.progressOf(*r)
	}
	return out
}

// irreversible says why a migration has no way down.
func irreversible(m aurora.Migration) string {
	if m.Irreversible != "" {
		return m.Irreversible
	}
	return "it has no down part"
}

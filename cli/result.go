package cli

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

func reportFile(m aurora.Migration) report.File {
	name := m.Source
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	if name == "" {
		name = m.ID()
	}
	return report.File{Name: name, Version: m.Version, Description: m.Name}
}

func reportFiles(ms []aurora.Migration) []report.File {
	var files []report.File
	for _, m := range ms {
		files = append(files, reportFile(m))
	}
	return files
}

func itemFiles(items []aurora.Item) []report.File {
	var files []report.File
	for _, it := range items {
		files = append(files, reportFile(it.Migration))
	}
	return files
}

// stepText is a step as Atlas shows it: SQL ends with its semicolon.
func stepText(s aurora.Step) string {
	if _, ok := s.(aurora.Statement); ok {
		return sqlText(s.String())
	}
	return s.String()
}

func sqlText(sql string) string {
	if sql == "" || strings.HasSuffix(sql, ";") {
		return sql
	}
	return sql + ";"
}

// appliedFile describes what became of one item: all its steps after those an
// earlier run did, or those up to the one that failed.
func appliedFile(it aurora.Item, r aurora.Revision, failure *aurora.StepError, review reviewer) *report.AppliedFile {
	f := &report.AppliedFile{
		File: reportFile(it.Migration), Start: r.StartedAt, End: r.FinishedAt, Skipped: finished(it.Revision),
	}
	if f.End.IsZero() || f.End.Before(f.Start) {
		f.End = f.Start
	}
	f.Checks = checks(it, failure)
	if failure != nil && errors.Is(failure.Err, aurora.ErrCheckFailed) {
		return f
	}
	steps := it.Migration.Steps(it.Direction)
	last := len(steps)
	if failure != nil && failure.Index >= 0 {
		last = min(failure.Index+1, last)
	}
	at := left(it)
	for i, step := range steps[:last] {
		if _, ok := at[i]; !ok {
			continue
		}
		if _, ok := step.(aurora.Statement); !ok {
			if f.Functions == nil {
				f.Functions = make(map[int]bool)
			}
			f.Functions[len(f.Applied)] = true
		}
		f.Applied = append(f.Applied, stepText(step))
	}
	for _, w := range review.of(it) {
		if i, ok := at[w.Statement]; ok && w.SQL != "" && w.Statement < last {
			f.Rewrites = append(f.Rewrites, &report.Rewrite{Index: i, Stmt: f.Applied[i], Sent: sqlText(w.SQL), Changes: w.Changes})
		}
	}
	return f
}

// left gives the steps of an item that have to run, each with its place among
// them: those after the ones that an earlier run did, and of those the ones that
// are to run again.
func left(it aurora.Item) map[int]int {
	at := make(map[int]int)
	for i := range it.Migration.Steps(it.Direction) {
		if r := it.Revision; i >= r.Done || i < len(r.Hashes) && r.Hashes[i] == "" {
			at[i] = len(at)
		}
	}
	return at
}

// finished counts the steps of a revision that need not run again.
func finished(r aurora.Revision) int {
	n := r.Done
	for i, h := range r.Hashes {
		if h == "" && i < r.Done {
			n--
		}
	}
	return n
}

// A reviewer tells how a store sends what is in the files. Nil is for one that
// sends it as it stands.
type reviewer func(aurora.Migration, aurora.Direction) []aurora.Review

func (t *target) reviewer() reviewer {
	if r, ok := t.database.(aurora.Reviewer); ok {
		return r.Review
	}
	return nil
}

func (r reviewer) of(it aurora.Item) []aurora.Review {
	if r == nil {
		return nil
	}
	return r(it.Migration, it.Direction)
}

// refusals returns the reasons for which the rest of an item would not run.
func (r reviewer) refusals(it aurora.Item) []*aurora.StepError {
	var steps []*aurora.StepError
	at := left(it)
	for _, w := range r.of(it) {
		var step *aurora.StepError
		if _, ok := at[w.Statement]; (ok || w.Statement >= it.Revision.Done) && errors.As(w.Err, &step) {
			steps = append(steps, step)
		}
	}
	return steps
}

// refused adds to the error of a plan that was refused the reasons that it does
// not name.
func (r reviewer) refused(items []aurora.Item, err error) error {
	var step *aurora.StepError
	if !errors.As(err, &step) {
		return err
	}
	var all []*aurora.StepError
	for _, it := range items {
		all = append(all, r.refusals(it)...)
	}
	among := slices.ContainsFunc(all, func(s *aurora.StepError) bool {
		return s.Version == step.Version && s.Pos == step.Pos && s.Err.Error() == step.Err.Error()
	})
	if len(all) < 2 || !among {
		return err
	}
	return &refusedError{err, all}
}

// checks describes the checks before an item. Which of them failed is known
// only as a whole, so the last group stands for it.
func checks(it aurora.Item, failure *aurora.StepError) []*report.FileChecks {
	if it.Direction != aurora.Up || it.Resumes {
		return nil
	}
	failed := failure != nil && errors.Is(failure.Err, aurora.ErrCheckFailed)
	var out []*report.FileChecks
	for _, c := range it.Migration.Checks {
		group := &report.FileChecks{Name: c.Name}
		for _, s := range c.Statements {
			check := &report.Check{Stmt: stepText(s)}
			if failed && s.SQL == failure.Step {
				text := failure.Err.Error()
				check.Error = &text
				group.Error = &report.StmtError{Stmt: check.Stmt, Text: text}
			}
			group.Stmts = append(group.Stmts, check)
		}
		out = append(out, group)
		if group.Error != nil {
			return out
		}
	}
	return out
}

// appliedFiles describes all that a run did or began, with its error.
func (a *app) appliedFiles(e aurora.Execution, err error, review reviewer) []*report.AppliedFile {
	items := make(map[string]aurora.Item, len(e.Plan.Items))
	for _, it := range e.Plan.Items {
		items[it.Migration.Version] = it
	}
	var step *aurora.StepError
	errors.As(err, &step)
	text := ""
	switch {
	case step == nil:
	case errors.Is(err, aurora.ErrInterrupted):
		// Not what the database says of a canceled statement.
		text = aurora.ErrInterrupted.Error()
	default:
		text = a.errorText(step.Err)
	}
	var files []*report.AppliedFile
	seen := false
	for _, r := range e.Revisions {
		it, ok := items[r.Version]
		if !ok {
			continue
		}
		var failure *aurora.StepError
		if step != nil && step.Version == r.Version {
			failure, seen = step, true
		} else if r.State != aurora.Completed {
			continue
		}
		files = append(files, failed(appliedFile(it, r, failure, review), failure, text))
	}
	if step != nil && !seen {
		if it, ok := items[step.Version]; ok {
			now := a.now()
			files = append(files, failed(appliedFile(it, aurora.Revision{StartedAt: now, FinishedAt: now}, step, review), step, text))
		}
	}
	a.secrets.hideFiles(files)
	return files
}

func failed(f *report.AppliedFile, step *aurora.StepError, text string) *report.AppliedFile {
	if step != nil {
		f.Error = &report.StmtError{Stmt: sqlText(step.Step), Text: text}
	}
	return f
}

// plannedFiles describes a plan as if it had run: what --dry-run shows. The
// error is the first reason for which it would not run.
func (a *app) plannedFiles(plan aurora.Plan, review reviewer) ([]*report.AppliedFile, error) {
	var files []*report.AppliedFile
	var first error
	now := a.now()
	for _, it := range plan.Items {
		f := appliedFile(it, aurora.Revision{StartedAt: now, FinishedAt: now}, nil, review)
		at := left(it)
		for _, step := range review.refusals(it) {
			text := a.errorText(step.Err)
			if f.Error == nil {
				f = failed(f, step, text)
			}
			index, ok := at[step.Index]
			if !ok || len(f.Applied) == 0 {
				index = -1
			}
			f.Refused = append(f.Refused, &report.Refusal{
				Index: index, Stmt: sqlText(step.Step), Pos: step.Pos, Text: strings.TrimPrefix(text, "nothing ran: "), Hint: step.Hint,
			})
			first = cmp.Or[error](first, step)
		}
		files = append(files, f)
	}
	a.secrets.hideFiles(files)
	return files, review.refused(plan.Items, first)
}

// concise puts the attempts to connect, which pgx lists one to a line and twice
// where it tried with and without TLS, into one line without repetitions.
func concise(text string) string {
	parts := strings.Split(text, "\n\t")
	if len(parts) == 1 {
		return text
	}
	var out []string
	for _, p := range parts[1:] {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return parts[0] + " " + strings.Join(out, "; ")
}

// errorText is an error in one piece, without secrets.
func (a *app) errorText(err error) string {
	if err == nil {
		return ""
	}
	return a.secrets.hide(a.asTyped(concise(err.Error())))
}

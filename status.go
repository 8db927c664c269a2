package aurora

import (
	"errors"
	"slices"
)

// The statuses of a migration, besides the states of its newest revision.
const (
	StatusApplied    = "applied"
	StatusPending    = "pending"
	StatusRolledBack = "rolled_back" // pending again
	StatusCovered    = "covered"     // by a baseline or a snapshot; will not run
	StatusOutOfOrder = "out_of_order"
	StatusMissing    = "missing" // applied, but not in the directory
	StatusAhead      = "ahead"   // missing, and newer than all that is there
)

// A MigrationStatus is where one migration stands.
type MigrationStatus struct {
	Migration Migration // of a missing one, only version and name
	// Status is one of the constants above, or the state of an unfinished
	// revision: running, paused, failed, interrupted.
	Status   string
	Revision *Revision // the newest, nil when it never ran
	Edited   bool      // the source changed since it was applied
}

// A Status is where a directory and a history stand.
type Status struct {
	Migrations []MigrationStatus // in order of version
	// Current is the newest applied version.
	Current string
	// Pending are the migrations that would run next, in order; it includes
	// unfinished ones. OutOfOrder are those that Linear refuses.
	Pending, OutOfOrder []Migration
	Edited, Missing     []string // IDs
	// Ahead are the IDs of applied migrations newer than the newest file: the
	// directory is an older release's.
	Ahead []string
	// Last is the newest unfinished revision, nil when there is none.
	Last *Revision
}

// Ready reports whether every migration of the directory is applied or
// covered, and none was changed since: an application may start. A database
// that is ahead is ready, or an older release could not be brought back.
func (s Status) Ready() bool {
	return len(s.Pending) == 0 && len(s.OutOfOrder) == 0 && len(s.Edited) == 0 && len(s.Missing) == 0
}

// NewStatus compares a directory with a history. It is pure; latest is what
// [Store.Latest] returned, order is what [Request] has. The error is a
// [*RequestError], for a version that appears twice.
func NewStatus(migrations []Migration, latest []Revision, order ExecOrder) (Status, error) {
	p := planner{req: Request{Direction: Up, ExecOrder: NonLinear}, latest: make(map[string]Revision, len(latest))}
	if err := p.load(migrations, latest); err != nil {
		return Status{}, err
	}
	s := Status{Current: p.plan.Current, Migrations: slices.Grow([]MigrationStatus(nil), len(p.migrations))}
	var changed *ChangedError
	if errors.As(p.checkDrift(), &changed) {
		s.Edited, s.Missing, s.Ahead = changed.Edited, changed.Missing, changed.Ahead
	}
	start, err := p.start(len(p.migrations) - 1)
	if err != nil {
		return Status{}, err
	}
	for i, m := range p.migrations {
		ms := p.status(i, m, start, order)
		ms.Edited = slices.Contains(s.Edited, m.ID())
		switch ms.Status {
		case StatusApplied, StatusCovered:
		case StatusOutOfOrder:
			s.OutOfOrder = append(s.OutOfOrder, m)
		default:
			s.Pending = append(s.Pending, m)
		}
		if r := ms.Revision; r != nil && r.State != Completed && ms.Status != StatusCovered && (s.Last == nil || s.Last.Compare(*r) < 0) {
			s.Last = r
		}
		s.Migrations = append(s.Migrations, ms)
	}
	for i := range p.sorted {
		r := &p.sorted[i]
		if _, ok := p.known[r.Version]; ok {
			continue
		}
		ms := MigrationStatus{Migration: Migration{Version: r.Version, Name: r.Name}, Revision: r}
		switch {
		case slices.Contains(s.Missing, r.ID()):
			ms.Status = StatusMissing
		case slices.Contains(s.Ahead, r.ID()):
			ms.Status = StatusAhead
		default:
			continue
		}
		s.Migrations = append(s.Migrations, ms)
	}
	slices.SortStableFunc(s.Migrations, func(a, b MigrationStatus) int {
		return CompareVersions(a.Migration.Version, b.Migration.Version)
	})
	return s, nil
}

func (p *planner) status(i int, m Migration, start int, order ExecOrder) MigrationStatus {
	ms := MigrationStatus{Migration: m, Status: StatusPending}
	r, recorded := p.latest[m.Version]
	if recorded {
		ms.Revision = &r
	}
	why, behind := p.behind(i, start)
	switch {
	case recorded && r.IsApplied():
		ms.Status = StatusApplied
	case why != "":
		ms.Status = StatusCovered
	case r.isHalfDone():
		ms.Status = string(r.State)
	case behind && order != NonLinear:
		ms.Status = StatusOutOfOrder
		if order == LinearSkip {
			ms.Status = StatusCovered
		}
	case recorded && r.State != Completed:
		ms.Status = string(r.State)
	case recorded:
		ms.Status = StatusRolledBack
	}
	return ms
}

// NewSet returns the revisions that make the history agree with the directory
// up to and including a version, without running anything: older migrations
// count as applied as they are now, newer ones as not applied, and applied
// ones without a file are forgotten. Version 0 stands for none. What another tool has applied keeps its
// kind and times. It is pure; an unknown version is a [*RequestError].
func NewSet(migrations []Migration, latest []Revision, version string) ([]Revision, error) {
	p := planner{latest: make(map[string]Revision, len(latest))}
	if err := p.load(migrations, latest); err != nil {
		return nil, err
	}
	last, err := p.find(version)
	if err != nil && version != "0" {
		return nil, err
	} else if err != nil {
		last = -1
	}
	start, err := p.start(max(last, 0))
	if err != nil {
		return nil, err
	}
	if last < start {
		// The baseline or snapshot that covers goes, and must not take with it
		// what it stands for.
		start = 0
	}
	var out []Revision
	add := func(r Revision) {
		r.Kind, r.State = Resolved, Completed
		out = append(out, r)
	}
	for i, m := range p.migrations {
		r, recorded := p.latest[m.Version]
		applied := recorded && r.IsApplied()
		set := Revision{Version: m.Version, Name: m.Name, Description: m.Description, Checksum: m.Checksum}
		switch {
		case i <= last && (!applied || r.Kind != Baseline && checksumsDiffer(r.Checksum, m.Checksum)):
			why, _ := p.behind(i, start)
			if why != "" && !r.isHalfDone() && i != last {
				continue
			}
			set.Direction = Up
			add(set)
		case i > last && recorded && (applied || r.State != Completed):
			set.Direction = Down
			add(set)
		}
	}
	for _, r := range p.sorted {
		_, ok := p.known[r.Version]
		// A baseline whose file is gone still covers.
		covers := r.Kind == Baseline && last >= 0 && CompareVersions(r.Version, p.migrations[last].Version) <= 0
		if !ok && r.IsApplied() && !covers {
			add(Revision{Version: r.Version, Name: r.Name, Checksum: r.Checksum, Direction: Down})
		}
	}
	return p.withImports(out, last), nil
}

// withImports adds what another tool has applied up to migration last: once
// there is a history of our own, that tool's is not looked at again.
func (p *planner) withImports(out []Revision, last int) []Revision {
	set := make(map[string]bool, len(out))
	for _, r := range out {
		set[r.Version] = true
	}
	for _, r := range p.plan.Import {
		if i, ok := p.known[r.Version]; ok && i <= last && !set[r.Version] {
			r.Foreign = ""
			out = append(out, r)
		}
	}
	return out
}

package lambdahandler

import (
	"context"
	"fmt"

	"github.com/aurora-migrate/aurora"
)

// A MigrationInfo is one migration in an answer.
type MigrationInfo struct {
	ID          string `json:"id"`
	Version     string `json:"version"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	// Irreversible says why there is no way down.
	Irreversible string `json:"irreversible,omitempty"`
	// Source names the file, Checksum is the fingerprint of its text, and Down is
	// how many steps lead back.
	Source   string `json:"source,omitempty"`
	Checksum string `json:"checksum,omitempty"`
	Down     int    `json:"down,omitempty"`
	// Status is one of the statuses of package aurora, or the state of an
	// unfinished attempt. It is empty where the history was not read.
	Status string `json:"status,omitempty"`
	Edited bool   `json:"edited,omitempty"` // since it was applied
	// Done of Steps are finished, of an unfinished attempt.
	Done        int    `json:"done,omitempty"`
	Steps       int    `json:"steps,omitempty"`
	Error       string `json:"error,omitempty"`
	ExecutionID string `json:"executionId,omitempty"` // of the newest attempt
}

// A StatusResponse answers the command [Status].
type StatusResponse struct {
	Current    string   `json:"current"` // the newest applied version
	Ready      bool     `json:"ready"`   // all is applied, and nothing was changed since
	Pending    []string `json:"pending"` // IDs, as all below
	OutOfOrder []string `json:"outOfOrder,omitempty"`
	Edited     []string `json:"edited,omitempty"`
	Missing    []string `json:"missing,omitempty"`
	Ahead      []string `json:"ahead,omitempty"`
	// LockedBy says who runs just now.
	LockedBy   string          `json:"lockedBy,omitempty"`
	Migrations []MigrationInfo `json:"migrations"`
}

// A ListResponse answers the command [List].
type ListResponse struct {
	Migrations []MigrationInfo `json:"migrations"`
}

// A PlanResponse answers the command [Plan].
type PlanResponse struct {
	Direction aurora.Direction `json:"direction"`
	Current   string           `json:"current"` // the newest applied version before
	Target    string           `json:"target"`  // and after
	Baseline  string           `json:"baseline,omitempty"`
	Items     []PlanItem       `json:"items"`
	Skipped   []PlanSkipped    `json:"skipped,omitempty"`
}

// A PlanItem is one migration that would run.
type PlanItem struct {
	ID string `json:"id"`
	// Resumes says that an earlier attempt did the first Done of its steps.
	Resumes bool     `json:"resumes,omitempty"`
	Done    int      `json:"done,omitempty"`
	Steps   []string `json:"steps"`
}

// A PlanSkipped is one that would not.
type PlanSkipped struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

func status(ctx context.Context, p *Project, e Event) (*StatusResponse, error) {
	latest, err := p.Runner.Store.Latest(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	s, err := aurora.NewStatus(p.Runner.Migrations, latest, e.ExecOrder)
	if err != nil {
		return nil, err
	}
	out := &StatusResponse{
		Current: s.Current, Ready: s.Ready(), Pending: ids(s.Pending), OutOfOrder: ids(s.OutOfOrder),
		Edited: s.Edited, Missing: s.Missing, Ahead: s.Ahead, Migrations: []MigrationInfo{},
	}
	for _, m := range s.Migrations {
		info := infoOf(m.Migration)
		info.Status, info.Edited, info.Steps = m.Status, m.Edited, 0
		if r := m.Revision; r != nil {
			info.ExecutionID = r.ExecutionID
			if r.State != aurora.Completed {
				info.Done, info.Steps, info.Error = r.Done, r.Steps, r.Error
			}
		}
		out.Migrations = append(out.Migrations, info)
	}
	if locker, ok := p.Runner.Store.(aurora.Locker); ok {
		held, err := locker.Locked(ctx)
		if err != nil {
			return nil, err
		}
		if held != nil {
			out.LockedBy = held.Holder.String()
		}
	}
	return out, nil
}

func list(p *Project) (*ListResponse, error) {
	sorted, err := aurora.Sort(p.Runner.Migrations)
	if err != nil {
		return nil, err
	}
	out := &ListResponse{Migrations: []MigrationInfo{}}
	for _, m := range sorted {
		out.Migrations = append(out.Migrations, infoOf(m))
	}
	return out, nil
}

func plan(ctx context.Context, p *Project, e Event) (*PlanResponse, error) {
	plan, err := p.Runner.Plan(ctx, e.Request)
	if err != nil {
		return nil, err
	}
	out := &PlanResponse{Direction: plan.Direction, Current: plan.Current, Target: plan.Target, Items: []PlanItem{}}
	if len(plan.Baseline) > 0 {
		out.Baseline = plan.Baseline[0].ID()
	}
	for _, it := range plan.Items {
		item := PlanItem{ID: it.Migration.ID(), Resumes: it.Resumes, Done: it.Revision.Done, Steps: []string{}}
		for _, s := range it.Migration.Steps(it.Direction) {
			item.Steps = append(item.Steps, s.String())
		}
		out.Items = append(out.Items, item)
	}
	for _, s := range plan.Skipped {
		out.Skipped = append(out.Skipped, PlanSkipped{s.Migration.ID(), s.Reason})
	}
	return out, nil
}

func infoOf(m aurora.Migration) MigrationInfo {
	return MigrationInfo{
		ID: m.ID(), Version: m.Version, Name: m.Name, Description: m.Description, Irreversible: m.Irreversible, Steps: len(m.Up),
		Source: m.Source, Checksum: m.Checksum, Down: len(m.Down),
	}
}

func ids(migrations []aurora.Migration) []string {
	out := make([]string, len(migrations))
	for i, m := range migrations {
		out[i] = m.ID()
	}
	return out
}

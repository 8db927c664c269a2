package dashboard

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/aurora-migrate/aurora"
)

const (
	maxPlanItems      = 500
	maxPlanStatements = 50      // of one migration in a plan
	maxPlanText       = 4 << 10 // bytes of one of them, and of a description
)

// getPlan answers what a rollback, or a way up, would do. It says so also of
// one that is not possible, with the reason.
func (s *server) getPlan(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	req := s.request(aurora.Direction(q.Get("direction")))
	req.To = q.Get("target")
	if req.Direction != aurora.Up && req.Direction != aurora.Down {
		return problemf(http.StatusBadRequest, "bad_request", "direction must be up or down.")
	}
	if raw := q.Get("steps"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 1 {
			return problemf(http.StatusBadRequest, "bad_request", "steps must be a number of at least 1.")
		}
		req.Steps = n
	}
	snap, err := s.snapshot(r.Context(), 0)
	if err != nil {
		return err
	}
	if through := q.Get("through"); through != "" {
		if req.Direction != aurora.Down || req.To != "" || req.Steps > 0 {
			return problemf(http.StatusBadRequest, "bad_request", "through is for rollbacks, and excludes target and steps.")
		}
		if req.To, err = snap.below(through); err != nil {
			return err
		}
	}
	return reply(w, http.StatusOK, s.describe(snap, s.planned(snap, req)))
}

// request is one with the defaults.
func (s *server) request(d aurora.Direction) aurora.Request {
	req := aurora.Request{Direction: d}
	if d == aurora.Up {
		req.TxMode, req.ExecOrder, req.Baseline = s.cfg.Defaults.TxMode, s.cfg.Defaults.ExecOrder, s.cfg.Defaults.Baseline
	}
	return req
}

// below returns the newest applied version that is older than a migration, or
// 0 when there is none.
func (snap *snapshot) below(id string) (string, error) {
	at, ok := snap.index[id]
	if !ok {
		return "", problemf(http.StatusBadRequest, "unknown_target", "No migration has the ID %q.", clip(id, 200))
	}
	if !snap.entries[at].canUndo() {
		return "", problemf(http.StatusConflict, "nothing_to_do", "%s is not applied, so it cannot be rolled back.", snap.entries[at].id)
	}
	for _, e := range slices.Backward(snap.entries[:at]) {
		if e.revision != nil && e.revision.IsApplied() {
			return e.version(), nil
		}
	}
	return "0", nil
}

// canUndo reports whether a rollback has something to do for a migration.
func (e entry) canUndo() bool {
	if e.revision == nil {
		return false
	}
	r := e.revision
	return r.IsApplied() || r.State != aurora.Completed && (r.Done > 0 || r.Begun > 0 || r.Checkpoint != nil)
}

// A planned is what a request would do, and the request that says exactly
// that, whoever else is at work.
type planned struct {
	request aurora.Request
	plan    aurora.Plan // without items that have no file
	items   []entry     // in the order in which they run
	err     error       // why it is not possible
}

func (s *server) planned(snap *snapshot, req aurora.Request) planned {
	p := planned{request: req}
	if snap.files == nil {
		p.withoutFiles(snap)
		return p
	}
	p.plan, p.err = aurora.NewPlan(snap.files, snap.latest, req)
	if p.err != nil {
		if req.Direction == aurora.Down {
			p.err = cmpErr(p.err, p.walk(snap))
		}
		return p
	}
	for _, it := range p.plan.Items {
		p.items = append(p.items, snap.entries[snap.index[it.Migration.ID()]])
	}
	switch {
	// What another tool recorded is no reason to roll back.
	case p.plan.IsEmpty(), req.Direction == aurora.Down && len(p.items) == 0:
		p.err = nothingToDo(req)
	case len(p.items) > 0: // otherwise only a history begins
		p.pin(snap)
	}
	return p
}

func nothingToDo(req aurora.Request) error {
	if req.Direction == aurora.Down {
		return problemf(http.StatusConflict, "nothing_to_do", "There is nothing to roll back.")
	}
	return problemf(http.StatusConflict, "nothing_to_do", "There is nothing to apply.")
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// pin replaces "the newest" and numbers of migrations in the request by a
// version: asked for twice, that is done once.
func (p *planned) pin(snap *snapshot) {
	req := p.request
	req.Steps, req.All = 0, false
	if req.Direction == aurora.Up {
		req.To = p.plan.Items[len(p.plan.Items)-1].Migration.Version
	} else if req.To = p.plan.Target; req.To == "" {
		req.To = "0"
	}
	again, err := aurora.NewPlan(snap.files, snap.latest, req)
	sameItem := func(a, b aurora.Item) bool { return a.Migration.Version == b.Migration.Version }
	if err == nil && slices.EqualFunc(again.Items, p.plan.Items, sameItem) {
		p.request = req
		return
	}
	// The version that stays has no file, or is called 0.
	p.request.To, p.request.All, p.request.Steps = "", false, len(p.plan.Items)
}

// withoutFiles plans a rollback by the history alone. The runner, which has
// the files, has the last word.
func (p *planned) withoutFiles(snap *snapshot) {
	if p.request.Direction == aurora.Up {
		// What is pending only the runner knows.
		return
	}
	if p.err = p.walk(snap); p.err == nil && len(p.items) == 0 {
		p.err = nothingToDo(p.request)
	}
	if p.err != nil {
		return
	}
	p.request.To, p.request.Steps, p.request.All = p.plan.Target, 0, false
	if p.request.To == "" {
		p.request.To = "0"
	}
}

// walk finds what a rollback would undo as far as the history tells.
func (p *planned) walk(snap *snapshot) error {
	p.plan.Direction, p.items = aurora.Down, nil
	for _, e := range snap.entries {
		if e.revision != nil && e.revision.IsApplied() {
			p.plan.Current = e.version()
		}
	}
	stop := ""
	if to := p.request.To; to != "" && to != "0" {
		at, ok := snap.index[to]
		if !ok {
			return problemf(http.StatusBadRequest, "unknown_target", "No migration has the ID %q.", clip(to, 200))
		}
		if e := snap.entries[at]; e.revision == nil || !e.revision.IsApplied() {
			return problemf(http.StatusBadRequest, "unknown_target", "%s is not applied, so nothing can be rolled back to it.", e.id)
		}
		stop = snap.entries[at].version()
	}
	limit := len(snap.entries)
	if p.request.To == "" && !p.request.All {
		limit = max(p.request.Steps, 1)
	}
	for _, e := range slices.Backward(snap.entries) {
		if !e.canUndo() {
			continue
		}
		baseline := e.revision.Kind == aurora.Baseline && e.revision.IsApplied()
		if len(p.items) == limit || stop != "" && aurora.CompareVersions(e.version(), stop) <= 0 || baseline {
			p.plan.Target = e.version()
			break
		}
		p.items = append(p.items, e)
	}
	return nil
}

// idOf returns the ID of a version that is known, or nothing.
func (snap *snapshot) idOf(version string) string {
	if i, ok := snap.index[version]; ok {
		return snap.entries[i].id
	}
	return ""
}

// confirm is what a person must type to agree: the ID of the oldest migration
// that is undone, which is the one that they mean.
func (p planned) confirm() string {
	if len(p.items) == 0 {
		return ""
	}
	return p.items[len(p.items)-1].id
}

func (s *server) describe(snap *snapshot, p planned) planJSON {
	out := planJSON{
		Direction: p.request.Direction, Head: snap.head, Current: p.plan.Current, Target: p.plan.Target, Count: len(p.items),
		Items: []planItemJSON{}, Possible: true, NeedsReason: s.cfg.Protected && p.request.Direction == aurora.Down,
	}
	if p.request.To != "" && p.err == nil {
		out.Target = p.request.To
	}
	if out.Target == "" && p.request.Direction == aurora.Down {
		out.Target = "0"
	}
	out.CurrentID, out.TargetID = snap.idOf(out.Current), snap.idOf(out.Target)
	if s.cfg.Protected && p.request.Direction == aurora.Down {
		out.Confirm = p.confirm()
	}
	err := p.err
	if err == nil && snap.lock != nil {
		err = snap.lock
	}
	if err != nil {
		out.Possible = false
		if !errors.As(err, &out.Blocked) {
			out.Blocked = s.planProblem(err)
		}
		if out.Blocked == nil {
			out.Blocked = problemf(http.StatusConflict, "bad_request", "%s", s.hide(err.Error()))
		}
	}
	budget := maxTexts
	for _, e := range p.items[:min(len(p.items), maxPlanItems)] {
		out.Items = append(out.Items, s.planItem(e, p.request.Direction, &budget))
	}
	if len(p.plan.Items) == len(p.items) { // there are none where it is not possible
		for i := range out.Items {
			out.Items[i].Resumes = p.plan.Items[i].Resumes
		}
	}
	if len(p.plan.Baseline) > 0 {
		out.Baseline = p.plan.Baseline[0].ID()
	}
	out.Import = len(p.plan.Import)
	for _, sk := range p.plan.Skipped[:min(len(p.plan.Skipped), maxPlanItems)] {
		out.Skipped = append(out.Skipped, skippedJSON{sk.Migration.ID(), s.hideInSource(sk.Reason)})
	}
	return out
}

func (s *server) planItem(e entry, d aurora.Direction, budget *int) planItemJSON {
	item := planItemJSON{ID: e.id, Version: e.version(), Direction: d, Language: e.language()}
	if e.revision != nil {
		item.Name, item.Steps = e.revision.Name, e.revision.Steps
	}
	m := e.migration
	if m == nil {
		return item
	}
	item.Name, item.Steps = m.Name, len(m.Steps(d))
	item.Description = clip(s.hideInSource(m.Description), maxPlanText)
	item.Statements = s.statementsOf(*m, d, textLimits{maxPlanStatements, maxPlanText, budget})
	if d == aurora.Down && (m.Irreversible != "" || len(m.Down) == 0) {
		item.Irreversible = s.hideInSource(irreversible(*m))
	}
	return item
}

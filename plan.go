package aurora

import (
	"cmp"
	"slices"
	"strings"
)

// An ExecOrder says what to do about migrations that appear behind the newest
// applied one. The words are Atlas's.
type ExecOrder string

// The orders. The zero value means [Linear].
const (
	Linear     ExecOrder = "linear"      // refuse
	LinearSkip ExecOrder = "linear-skip" // leave them out
	NonLinear  ExecOrder = "non-linear"  // run them
)

// An Unsure says what to do with a step that may have happened before an
// earlier process died, when the database does not tell.
type Unsure string

// The answers. The zero value stops with an [UnsureError].
const (
	UnsureAsk   Unsure = ""
	UnsureRerun Unsure = "rerun"
	UnsureSkip  Unsure = "skip"
)

// A Request asks for a run. It is the same for every door: the flags of the
// command line, a Lambda's event, the dashboard's request body.
type Request struct {
	Direction Direction `json:"direction,omitempty"` // zero means up
	// To is the version, ID or name to stop at. On the way up it is the last
	// to be applied; on the way down it is the newest that stays.
	To string `json:"target,omitempty"`
	// Steps is how many migrations to run: 0 means all on the way up and one on
	// the way down.
	Steps int `json:"steps,omitempty"`
	// All rolls back everything.
	All bool `json:"all,omitempty"`
	// ExecutionID continues an execution; empty starts a new one.
	ExecutionID string    `json:"executionId,omitempty"`
	TxMode      TxMode    `json:"txMode,omitempty"`
	ExecOrder   ExecOrder `json:"execOrder,omitempty"`
	// Baseline is the version that a database without history is taken to be at.
	Baseline string `json:"baseline,omitempty"`
	Unsure   Unsure `json:"unsure,omitempty"`
	// By is who asks, where that is not who runs, and Reason why. The history
	// keeps both in the [Holder].
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// ExpectedHead, if set, is the [Head] of the history for which the run was
	// asked. At any other, nothing runs and the error is a [*MovedError], except
	// that a run goes on behind what it did itself.
	ExpectedHead string `json:"expectedHead,omitempty"`
}

// A Plan is what a request would do, in order.
type Plan struct {
	Direction Direction
	// Import are finished revisions of another tool's history that are to be
	// recorded before anything runs.
	Import []Revision
	// Baseline is recorded before anything runs.
	Baseline []Revision
	Items    []Item
	// Skipped are migrations without a revision that will not run, and why.
	Skipped []Skipped
	// Current is the newest applied version before, Target the one after.
	Current, Target string
}

// IsEmpty reports whether there is nothing to do.
func (p Plan) IsEmpty() bool {
	return len(p.Items) == 0 && len(p.Baseline) == 0 && len(p.Import) == 0
}

// An Item is one migration of a plan.
type Item struct {
	Migration Migration
	Direction Direction
	// Revision is the record this run starts from: new, or carried over from
	// the unfinished attempt that it goes on with.
	Revision Revision
	// Resumes says that an earlier attempt did some of it.
	Resumes bool
	TxMode  TxMode // the migration's own, or the request's, or zero
	Unsure  Unsure
}

// A Skipped is a migration that a plan leaves out.
type Skipped struct {
	Migration Migration
	Reason    string
}

// NewPlan says what a request would do. It is pure: latest is what
// [Store.Latest] returned. It refuses with a [*RequestError], [*MovedError],
// [*ChangedError], [*OutOfOrderError] or [*IrreversibleError] rather than guess.
func NewPlan(migrations []Migration, latest []Revision, req Request) (Plan, error) {
	if err := checkHead(latest, req); err != nil {
		return Plan{}, err
	}
	if err := checkSteps(migrations); err != nil {
		return Plan{}, err
	}
	p := planner{req: req, latest: make(map[string]Revision, len(latest))}
	if err := p.load(migrations, latest); err != nil {
		return Plan{}, err
	}
	if p.req.Direction == "" {
		p.req.Direction = Up
	}
	p.plan.Direction = p.req.Direction
	if err := p.validate(); err != nil {
		return Plan{}, err
	}
	if err := p.checkDrift(); err != nil {
		return Plan{}, err
	}
	var err error
	if p.req.Direction == Down {
		err = p.planDown()
	} else {
		err = p.planUp()
	}
	if err != nil {
		return Plan{}, err
	}
	if err := p.checkTxModes(); err != nil {
		return Plan{}, err
	}
	return p.plan, nil
}

// Sort returns the migrations in order of their versions, and a
// [*RequestError] when two have the same or one has none.
func Sort(migrations []Migration) ([]Migration, error) {
	sorted := slices.Clone(migrations)
	slices.SortStableFunc(sorted, func(a, b Migration) int { return CompareVersions(a.Version, b.Version) })
	if len(sorted) > 0 && sorted[0].Version == "" {
		return nil, requestErrorf("%s has no version", cmp.Or(sorted[0].Source, sorted[0].Name, "a migration"))
	}
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; CompareVersions(a.Version, b.Version) == 0 {
			return nil, requestErrorf("version %s appears twice: %s and %s; rename one of them",
				b.Version, cmp.Or(a.Source, a.ID()), cmp.Or(b.Source, b.ID()))
		}
	}
	return sorted, nil
}

type planner struct {
	req        Request
	migrations []Migration // sorted
	known      map[string]int
	latest     map[string]Revision
	sorted     []Revision // latest, sorted by version
	plan       Plan
	// reached is the newest version that is applied or half done.
	reached string
	// fresh says that nothing is applied or half done, untried that nothing
	// ever was.
	fresh, untried bool
	// cover is the ID of the baseline or snapshot that stands for all before.
	cover string
}

// checkSteps refuses a step that is nil.
func checkSteps(migrations []Migration) error {
	for _, m := range migrations {
		for _, d := range []Direction{Up, Down} {
			if i := slices.Index(m.Steps(d), nil); i >= 0 {
				return requestErrorf("step %d of %s on the way %s is nil", i+1, cmp.Or(m.ID(), "a migration"), d)
			}
		}
	}
	return nil
}

func (p *planner) load(migrations []Migration, latest []Revision) error {
	var err error
	if p.migrations, err = Sort(migrations); err != nil {
		return err
	}
	p.known = make(map[string]int, len(p.migrations))
	for i, m := range p.migrations {
		p.known[m.Version] = i
	}
	latest = p.respell(latest)
	own := make(map[string]bool, len(latest))
	for _, r := range latest {
		own[r.Version] = own[r.Version] || r.Foreign == ""
	}
	p.sorted = make([]Revision, 0, len(latest))
	for _, r := range latest {
		// What another tool recorded counts only for the files it belongs to:
		// several projects may look at the same foreign table.
		if r.Foreign != "" {
			i, ok := p.known[r.Version]
			if !ok || own[r.Version] || r.Name != "" && r.Name != p.migrations[i].Name {
				continue
			}
			r.Name = p.migrations[i].Name
			switch {
			case r.State == Completed:
				p.plan.Import = append(p.plan.Import, r)
			case r.Done == 0:
				continue
			}
		}
		p.latest[r.Version] = r
		p.sorted = append(p.sorted, r)
	}
	slices.SortFunc(p.sorted, func(a, b Revision) int { return CompareVersions(a.Version, b.Version) })
	p.untried = true
	for _, r := range p.sorted {
		if r.IsApplied() {
			p.plan.Current = r.Version
		}
		if r.IsApplied() || r.isHalfDone() {
			p.reached = r.Version
		}
		if r.State == Completed {
			p.untried = false
		}
	}
	p.fresh = p.reached == ""
	p.plan.Target = p.plan.Current
	return nil
}

// respell gives revisions the versions as the directory writes them now: a file
// that was renamed from 2 to 02, so that names sort as versions do, is the same
// migration.
func (p *planner) respell(latest []Revision) []Revision {
	spelling := make(map[string]string, len(p.migrations))
	for _, m := range p.migrations {
		spelling[canonicalVersion(m.Version)] = m.Version
	}
	var out []Revision // a copy, where one is needed
	for i, r := range latest {
		if now, ok := spelling[canonicalVersion(r.Version)]; ok && now != r.Version {
			if out == nil {
				out = slices.Clone(latest)
			}
			out[i].Version = now
		}
	}
	if out != nil {
		return Newest(out)
	}
	return latest
}

func (p *planner) validate() error {
	r := p.req
	switch {
	case r.Direction != Up && r.Direction != Down:
		return requestErrorf("unknown direction %q: want up or down", r.Direction)
	case r.Steps < 0:
		return requestErrorf("the number of migrations must be at least 1, not %d", r.Steps)
	case r.Steps > 0 && r.To != "":
		return requestErrorf("a number of migrations and a target version exclude each other")
	case r.All && (r.Steps > 0 || r.To != ""):
		return requestErrorf("all excludes a number of migrations and a target version")
	}
	switch r.TxMode {
	case "", TxFile, TxAll, TxNone:
	default:
		return requestErrorf("unknown transaction mode %q: want file, all or none", r.TxMode)
	}
	switch r.ExecOrder {
	case "", Linear, LinearSkip, NonLinear:
	default:
		return requestErrorf("unknown execution order %q: want linear, linear-skip or non-linear", r.ExecOrder)
	}
	switch r.Unsure {
	case UnsureAsk, UnsureRerun, UnsureSkip:
	default:
		return requestErrorf("unknown answer %q: want rerun or skip", r.Unsure)
	}
	return nil
}

// checkTxModes looks only at what will run: an old file's wish binds nobody.
func (p *planner) checkTxModes() error {
	for _, it := range p.plan.Items {
		if m := it.Migration; p.req.TxMode == TxAll && m.TxMode != "" && m.TxMode != TxAll {
			return requestErrorf("%s asks for transaction mode %s, which one transaction for all files cannot give; use --tx-mode file",
				cmp.Or(m.Source, m.ID()), m.TxMode)
		}
		if p.req.TxMode == TxAll && it.Resumes {
			return requestErrorf("%s is half applied, and its rest cannot be one transaction with others; finish it first with --tx-mode file",
				cmp.Or(it.Migration.Source, it.Migration.ID()))
		}
	}
	return nil
}

// checkDrift compares what was applied with what the directory holds now.
func (p *planner) checkDrift() error {
	e := &ChangedError{}
	for _, r := range p.sorted {
		if !r.IsApplied() {
			continue
		}
		i, ok := p.known[r.Version]
		if ok {
			e.Current = r.Version
		}
		if r.Kind == Baseline {
			continue
		}
		switch {
		case !ok && r.Kind == Imported:
		case !ok && len(p.migrations) > 0 && CompareVersions(r.Version, p.migrations[len(p.migrations)-1].Version) > 0:
			e.Ahead = append(e.Ahead, r.ID())
		case !ok:
			e.Missing = append(e.Missing, r.ID())
		case ok && checksumsDiffer(r.Checksum, p.migrations[i].Checksum):
			e.Edited = append(e.Edited, p.migrations[i].ID())
		}
	}
	if len(e.Edited) > 0 || len(e.Missing) > 0 || len(e.Ahead) > 0 {
		return e
	}
	return nil
}

func (p *planner) find(what string) (int, error) { return find(p.migrations, what) }

// Find returns the migration that a person means by its version, its ID or its
// name. The error is a [*RequestError]: there is none, or there are several of
// that name, which it lists.
func Find(migrations []Migration, what string) (Migration, error) {
	i, err := find(migrations, what)
	if err != nil {
		return Migration{}, err
	}
	return migrations[i], nil
}

func find(migrations []Migration, what string) (int, error) {
	var byName []int
	for i, m := range migrations {
		if m.Version == what || m.ID() == what || strings.TrimSuffix(m.Source, ".sql") == what {
			return i, nil
		}
		if m.Name == what {
			byName = append(byName, i)
		}
	}
	switch len(byName) {
	case 1:
		return byName[0], nil
	case 0:
		return 0, requestErrorf("no migration has the version or name %q; list them with: aurora migrate list", what)
	}
	ids := make([]string, len(byName))
	for j, i := range byName {
		ids[j] = migrations[i].ID()
	}
	return 0, requestErrorf("the name %q is ambiguous: %s; give the version", what, strings.Join(ids, ", "))
}

// item makes the plan's entry for a migration, going on from an unfinished
// attempt in the same direction.
func (p *planner) item(m Migration) (Item, error) {
	d := p.req.Direction
	steps := m.Steps(d)
	it := Item{
		Migration: m, Direction: d,
		TxMode: cmp.Or(m.TxMode, p.req.TxMode),
		Unsure: p.req.Unsure,
		Revision: Revision{
			Version: m.Version, Name: m.Name, Description: m.Description, Checksum: m.Checksum,
			Direction: d, Kind: Applied, State: Running, Steps: len(steps),
		},
	}
	old, ok := p.latest[m.Version]
	if !ok || old.Direction != d || old.State == Completed {
		return it, nil
	}
	if old.ExecutionID != "" && old.ExecutionID == p.req.ExecutionID {
		// It goes on with the same record, which keeps its beginning.
		it.Revision.StartedAt = old.StartedAt
		it.Revision.Holder.By, it.Revision.Holder.Reason = old.Holder.By, old.Holder.Reason
	}
	if !old.isHalfDone() {
		return it, nil
	}
	for i := range max(old.Done, len(old.Hashes)) {
		if i >= len(steps) || i < len(old.Hashes) && old.Hashes[i] != "" && StepHash(steps[i]) != old.Hashes[i] {
			e := &ChangedError{Migration: m.ID(), Statement: i + 1}
			if i < len(steps) {
				if s, ok := steps[i].(Statement); ok {
					e.Pos = s.Pos()
				}
			}
			return it, e
		}
	}
	it.Resumes = true
	it.Revision.Done, it.Revision.Begun = old.Done, old.Begun
	it.Revision.Hashes, it.Revision.Checkpoint = old.Hashes, old.Checkpoint
	return it, nil
}

func (p *planner) planUp() error {
	last := len(p.migrations) - 1
	if p.req.To != "" {
		var err error
		if last, err = p.find(p.req.To); err != nil {
			return err
		}
	}
	start, err := p.start(last)
	if err != nil {
		return err
	}
	var late []string
	for i, m := range p.migrations {
		old, recorded := p.latest[m.Version]
		if recorded && old.Direction == Down && old.isHalfDone() {
			return requestErrorf("the rollback of %s is half done; finish it first with: aurora migrate down %s", m.ID(), p.below(m.Version))
		}
		if recorded && old.Foreign != "" && old.State != Completed {
			return requestErrorf("%s is half applied (%d of %d statements) according to %s; finish it with the tool that began it, or finish it by hand and record it with: aurora migrate set %s",
				m.ID(), old.Done, old.Steps, old.Foreign, m.Version)
		}
		if recorded && old.IsApplied() || i > last {
			continue
		}
		if why, behind := p.behind(i, start); why != "" {
			p.plan.Skipped = append(p.plan.Skipped, Skipped{m, why})
			continue
		} else if behind && !old.isHalfDone() {
			switch p.req.ExecOrder {
			case LinearSkip:
				p.plan.Skipped = append(p.plan.Skipped, Skipped{m, "out of order"})
				continue
			case NonLinear:
			default:
				late = append(late, m.ID())
				continue
			}
		}
		it, err := p.item(m)
		if err != nil {
			return err
		}
		p.plan.Items = append(p.plan.Items, it)
	}
	if len(late) > 0 {
		return &OutOfOrderError{Late: late, Current: p.reached}
	}
	if n := p.req.Steps; n > 0 && n < len(p.plan.Items) {
		p.plan.Items = p.plan.Items[:n]
	}
	if n := len(p.plan.Items); n > 0 {
		target := p.plan.Items[n-1].Migration.Version
		if p.plan.Target == "" || CompareVersions(target, p.plan.Target) > 0 {
			p.plan.Target = target
		}
	}
	return nil
}

// start returns the index before which migrations are covered by a baseline or
// a snapshot, and plans the baseline where one was asked for. No snapshot after
// the migration at index last is looked at.
func (p *planner) start(last int) (int, error) {
	start := 0
	for _, r := range p.sorted {
		i, ok := p.known[r.Version]
		baseline := r.Kind == Baseline && r.IsApplied()
		snapshot := ok && p.migrations[i].Snapshot && (r.IsApplied() || r.isHalfDone())
		if !baseline && !snapshot {
			continue
		}
		p.cover = r.ID()
		for start < len(p.migrations) && CompareVersions(p.migrations[start].Version, r.Version) < 0 {
			start++
		}
	}
	switch {
	case p.untried && p.fresh && p.req.Baseline != "":
		i, err := p.find(p.req.Baseline)
		if err != nil {
			return 0, err
		}
		m := p.migrations[i]
		r := Revision{
			Version: m.Version, Name: m.Name, Description: m.Description, Checksum: m.Checksum,
			Direction: Up, Kind: Baseline, State: Completed,
		}
		p.plan.Baseline = []Revision{r}
		p.plan.Target = m.Version
		// From here on it counts as applied.
		p.latest[m.Version] = r
		p.fresh, p.cover = false, m.ID()
		return i, nil
	case p.fresh:
		for i, m := range p.migrations[:last+1] {
			if m.Snapshot {
				start, p.cover = i, m.ID()
			}
		}
	}
	return start, nil
}

// behind reports whether migration i lies behind what is applied, and a reason
// when that is as it should be.
func (p *planner) behind(i, start int) (reason string, behind bool) {
	if i < start {
		return "covered by " + p.cover, true
	}
	m := p.migrations[i]
	if r := p.latest[m.Version]; m.Snapshot && !p.fresh && !r.IsApplied() && !r.isHalfDone() {
		return "a checkpoint, which only a database without history starts from", true
	}
	return "", p.reached != "" && CompareVersions(m.Version, p.reached) < 0
}

// below returns the flag that rolls back to what is applied before a version.
func (p *planner) below(version string) string {
	for _, r := range slices.Backward(p.sorted) {
		if r.IsApplied() && CompareVersions(r.Version, version) < 0 {
			return "--to " + r.Version
		}
	}
	return "--all"
}

func (p *planner) planDown() error {
	stop := -1 // the newest that stays
	_, isVersion := p.known["0"]
	if p.req.To != "" && (p.req.To != "0" || isVersion) {
		i, err := p.find(p.req.To)
		if err != nil {
			return err
		}
		if r, ok := p.latest[p.migrations[i].Version]; !ok || !r.IsApplied() {
			return requestErrorf("%s is not applied, so nothing can be rolled back to it", p.migrations[i].ID())
		}
		stop = i
	}
	limit := len(p.sorted)
	if p.req.To == "" && !p.req.All {
		limit = max(p.req.Steps, 1)
	}
	p.plan.Target = ""
	for _, r := range slices.Backward(p.sorted) {
		if !r.IsApplied() && !r.isHalfDone() {
			continue
		}
		if len(p.plan.Items) == limit {
			p.plan.Target = r.Version
			break
		}
		i, ok := p.known[r.Version]
		if ok && stop >= 0 && i <= stop {
			p.plan.Target = p.migrations[stop].Version
			break
		}
		if r.Kind == Baseline && r.IsApplied() {
			if len(p.plan.Items) == 0 && p.req.To == "" && !p.req.All {
				return &IrreversibleError{r.ID(), "it is the baseline, of which nothing ran here"}
			}
			p.plan.Target = r.Version
			break
		}
		if r.Direction == Up && r.isHalfDone() {
			return requestErrorf("%s is half applied (%d of %d statements); finish it first with: aurora migrate apply", r.ID(), r.Done, r.Steps)
		}
		if !ok {
			return &IrreversibleError{r.ID(), "its file is not in the directory"}
		}
		m := p.migrations[i]
		switch {
		case m.Irreversible != "":
			return &IrreversibleError{m.ID(), m.Irreversible}
		case len(m.Down) == 0:
			return &IrreversibleError{m.ID(), "it has no down part; write one as " + m.ID() + ".down.sql"}
		}
		it, err := p.item(m)
		if err != nil {
			return err
		}
		p.plan.Items = append(p.plan.Items, it)
	}
	return nil
}

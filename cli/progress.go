package cli

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

// A progress shows a run while it goes on: each migration as text when it is
// done, and on a terminal a live line for the one that runs. With a format
// only the live line is shown, since the output comes at the end.
type progress struct {
	out    io.Writer
	term   *terminal
	log    *slog.Logger
	text   bool // write the default text
	verb   string
	review reviewer
	header func(aurora.Plan) string

	mu      sync.Mutex
	plan    aurora.Plan
	files   map[string]int // version to index in plan.Items
	current int            // index of the migration that runs
	since   time.Time
	note    string    // what it is doing, or progress of the step's own
	logAt   time.Time // when that goes to the log
	written map[string]bool
}

// A log hears of what goes on and on after logFirst, and then every logEvery.
const (
	logFirst = 5 * time.Second
	logEvery = 30 * time.Second
)

// report takes the runner's events.
func (p *progress) report(e aurora.Event) {
	switch {
	case e.Waiting != nil:
		holder, since := e.Waiting.Holder.String(), time.Now()
		p.term.showLine(func(now time.Time) string {
			return fmt.Sprintf("waiting for the lock (%s), held by %s", now.Sub(since).Round(time.Second), holder)
		})
		if !p.term.live {
			p.log.Info("waiting for the lock", "holder", holder, "until", e.Waiting.ExpiresAt)
		}
	case e.Plan != nil:
		p.begin(*e.Plan)
	case e.Revision != nil:
		p.revision(*e.Revision)
	case e.Progress != nil:
		p.mu.Lock()
		p.note = stepProgress(*e.Progress)
		p.mu.Unlock()
	}
}

func (p *progress) begin(plan aurora.Plan) {
	p.mu.Lock()
	p.plan, p.current, p.since = plan, 0, time.Now()
	p.files = make(map[string]int, len(plan.Items))
	for i, it := range plan.Items {
		p.files[it.Migration.Version] = i
	}
	p.written = make(map[string]bool)
	p.mu.Unlock()
	if len(plan.Items) == 0 {
		return
	}
	if p.text {
		_ = p.term.paint.WriteHeader(p.out, p.header(plan))
	}
	p.term.showLine(p.line)
}

func (p *progress) revision(r aurora.Revision) {
	p.mu.Lock()
	i, ok := p.files[r.Version]
	if !ok {
		p.mu.Unlock()
		return
	}
	if i != p.current {
		p.current, p.since, p.note = i, time.Now(), ""
	}
	item := p.plan.Items[i]
	done := r.State == aurora.Completed && !p.written[r.Version]
	if done {
		p.written[r.Version] = true
		p.current, p.since, p.note = i+1, time.Now(), ""
	}
	now := time.Now()
	if p.note == "" {
		p.logAt = now.Add(logFirst)
	}
	news := !done && r.Activity != "" && !now.Before(p.logAt)
	if news {
		p.logAt = now.Add(logEvery)
	}
	if !done {
		p.note = r.Activity
	}
	p.mu.Unlock()
	if news && !p.term.live {
		p.log.Info(r.Activity, "migration", r.ID())
	}
	if done && p.text {
		_ = p.term.paint.WriteFile(p.out, appliedFile(item, r, nil, p.review), p.verb, false)
	}
}

// rest writes the migrations that the events did not bring, the failed one
// above all.
func (p *progress) rest(files []*report.AppliedFile) {
	p.mu.Lock()
	written := p.written
	p.mu.Unlock()
	for _, f := range files {
		if !written[f.Version] {
			_ = p.term.paint.WriteFile(p.out, f, p.verb, false)
		}
	}
}

// line is the live line.
func (p *progress) line(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current >= len(p.plan.Items) {
		return ""
	}
	spinner := []rune(`|/-\`)
	elapsed := now.Sub(p.since)
	m := p.plan.Items[p.current].Migration
	s := fmt.Sprintf("%c %s %s  [%d/%d]  %s", spinner[int(elapsed/redrawEvery)%len(spinner)], p.verb, m.ID(),
		p.current+1, len(p.plan.Items), elapsed.Truncate(time.Second/10))
	if p.note != "" {
		s += "  " + p.note
	}
	return s
}

// stepProgress draws what a step says of itself, with a bar when the total is
// known.
func stepProgress(p aurora.Progress) string {
	if p.Total <= 0 {
		return fmt.Sprint(p.Done)
	}
	const width = 20
	part := min(max(float64(p.Done)/float64(p.Total), 0), 1)
	full := int(part * width)
	return fmt.Sprintf("[%s%s] %d/%d %.0f%%", strings.Repeat("=", full), strings.Repeat(" ", width-full), p.Done, p.Total, part*100)
}

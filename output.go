package aurora

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// OutputLimit is how many bytes of a revision's output are kept.
const OutputLimit = 200 * 1024

// An Output keeps the newest lines of what a revision logs, up to a limit; the
// oldest go first. It is safe for concurrent use. The zero value keeps
// [OutputLimit] bytes.
type Output struct {
	Limit int // bytes; 0 means OutputLimit

	mu      sync.Mutex
	lines   []string
	size    int
	dropped int
	changed bool
}

// storable replaces what PostgreSQL does not take in a text: bytes that are not
// UTF-8, and NUL (postgresql.org/docs, "Character Types").
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

// Add appends text as whole lines. Bytes that are not UTF-8, and NUL, become
// U+FFFD.
func (o *Output) Add(text string) {
	text = storable(strings.TrimSuffix(text, "\n"))
	o.mu.Lock()
	defer o.mu.Unlock()
	limit := o.Limit
	if limit <= 0 {
		limit = OutputLimit
	}
	for line := range strings.SplitSeq(text, "\n") {
		// The end of an over-long line says more than its start.
		if len(line)+1 > limit {
			line = strings.ToValidUTF8(line[len(line)+1-limit:], "")
			o.dropped++
		}
		o.lines = append(o.lines, line)
		o.size += len(line) + 1
	}
	n := 0
	for o.size > limit {
		o.size -= len(o.lines[n]) + 1
		n++
	}
	o.dropped += n
	o.lines = o.lines[n:]
	o.changed = true
}

// resume puts the output of an earlier part of the same attempt in front.
func (o *Output) resume(text string, dropped int) {
	if text != "" {
		o.Add(text)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropped += dropped
}

// Text returns what is kept, and how many lines were dropped or cut.
func (o *Output) Text() (text string, dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lines) == 0 {
		return "", o.dropped
	}
	return strings.Join(o.lines, "\n") + "\n", o.dropped
}

// Write makes an Output a writer for package log, one line a call.
func (o *Output) Write(p []byte) (int, error) {
	o.Add(string(p))
	return len(p), nil
}

// hasChanged reports whether takeChanged would say that something was added.
func (o *Output) hasChanged() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// takeChanged reports whether something was added since it was last asked.
func (o *Output) takeChanged() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	changed := o.changed
	o.changed = false
	return changed
}

// Handler returns a handler that captures records in o and passes them on to
// next, which may be nil.
func (o *Output) Handler(next slog.Handler) slog.Handler {
	own := slog.NewTextHandler(o, &slog.HandlerOptions{Level: slog.LevelDebug})
	if next == nil {
		return own
	}
	return teeHandler{own, next}
}

type teeHandler [2]slog.Handler

func (t teeHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return t[0].Enabled(ctx, l) || t[1].Enabled(ctx, l)
}

func (t teeHandler) Handle(ctx context.Context, r slog.Record) error {
	for _, h := range t {
		if !h.Enabled(ctx, r.Level) {
			continue
		}
		if err := h.Handle(ctx, r.Clone()); err != nil {
			return fmt.Errorf("handle log record: %w", err)
		}
	}
	return nil
}

func (t teeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return teeHandler{t[0].WithAttrs(attrs), t[1].WithAttrs(attrs)}
}

func (t teeHandler) WithGroup(name string) slog.Handler {
	return teeHandler{t[0].WithGroup(name), t[1].WithGroup(name)}
}

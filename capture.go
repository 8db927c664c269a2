package aurora

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// While a step of Go code runs, what the program's default loggers say belongs
// to the step's output too: the default [slog.Logger] and that of package log.
// They are the process's, so all attempts of a process share one tap on them,
// put in by the first and taken out by the last.
//
// A record that is logged with the step's context, or one made of it, goes to
// that step alone. Nothing tells where anything else comes from: it goes to
// every step that runs just then.
var defaultLoggers struct {
	sync.Mutex
	tap *tap
}

// A tap is what stands in for the default loggers.
type tap struct {
	mu      sync.Mutex
	outputs []*Output

	// on says that the log package writes to writer.
	on     atomic.Bool
	logger *slog.Logger // ours, nil where the default one writes to package log
	writer *tapWriter

	oldLogger *slog.Logger
	oldWriter io.Writer
	oldFlags  int
}

// outputKey is the key of a step's context for its output.
type outputKey struct{}

// captureDefaults lets o have what the default loggers say, until end. The
// context is for the step.
func captureDefaults(ctx context.Context, o *Output) (_ context.Context, end func()) {
	d := &defaultLoggers
	d.Lock()
	defer d.Unlock()
	if d.tap == nil {
		d.tap = new(tap)
		d.tap.put()
	}
	t := d.tap
	t.mu.Lock()
	t.outputs = append(t.outputs, o)
	t.mu.Unlock()
	return context.WithValue(ctx, outputKey{}, o), sync.OnceFunc(func() {
		d.Lock()
		defer d.Unlock()
		t.mu.Lock()
		i := slices.Index(t.outputs, o)
		t.outputs = slices.Delete(t.outputs, i, i+1)
		left := len(t.outputs)
		t.mu.Unlock()
		if left == 0 {
			t.remove()
			d.tap = nil
		}
	})
}

// put puts the tap in. The logger that a program begins with writes to package
// log, where one tap is enough; with a second one around it, package log would
// wait for itself.
func (t *tap) put() {
	t.oldLogger, t.oldWriter, t.oldFlags = slog.Default(), log.Writer(), log.Flags()
	t.writer = &tapWriter{t, t.oldWriter}
	if !writesToLog(t.oldLogger.Handler()) {
		t.logger = slog.New(&tapHandler{tap: t, next: t.oldLogger.Handler()})
		slog.SetDefault(t.logger) // which redirects package log
	}
	log.SetOutput(t.writer)
	log.SetFlags(t.oldFlags)
	t.on.Store(true)
}

// remove takes the tap out, where the program did not put in something of its
// own meanwhile.
func (t *tap) remove() {
	t.on.Store(false)
	writer, flags := log.Writer(), log.Flags()
	if writer == io.Writer(t.writer) {
		writer, flags = t.oldWriter, t.oldFlags
	}
	if t.logger != nil && slog.Default() == t.logger {
		slog.SetDefault(t.oldLogger)
	}
	log.SetOutput(writer)
	log.SetFlags(flags)
}

// targets are the outputs that a record with that context is for.
func (t *tap) targets(ctx context.Context) []*Output {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o, ok := ctx.Value(outputKey{}).(*Output); ok && slices.Contains(t.outputs, o) {
		return []*Output{o}
	}
	return slices.Clone(t.outputs)
}

// A tapHandler stands before the default logger's handler.
type tapHandler struct {
	tap  *tap
	next slog.Handler
	with []func(slog.Handler) slog.Handler // attributes and groups
}

// Enabled is what package slog has from the start on at least: from Info up.
func (h *tapHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.next.Enabled(ctx, l) || l >= slog.LevelInfo && len(h.tap.targets(ctx)) > 0
}

func (h *tapHandler) Handle(ctx context.Context, r slog.Record) error {
	for _, o := range h.tap.targets(ctx) {
		own := o.Handler(nil)
		for _, with := range h.with {
			own = with(own)
		}
		if err := own.Handle(ctx, r.Clone()); err != nil {
			return fmt.Errorf("capture a log record: %w", err)
		}
	}
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h *tapHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.add(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (h *tapHandler) WithGroup(name string) slog.Handler {
	return h.add(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (h *tapHandler) add(with func(slog.Handler) slog.Handler) slog.Handler {
	return &tapHandler{h.tap, with(h.next), append(slices.Clip(h.with), with)}
}

// A tapWriter stands before the writer of package log.
type tapWriter struct {
	tap  *tap
	next io.Writer
}

// echo is in a message that a step's own log shows through package log and that
// is in its output already. It is invisible where it gets through after all.
const echo = "\u2063\u2063"

func (w *tapWriter) Write(p []byte) (int, error) {
	if before, after, found := bytes.Cut(p, []byte(echo)); found {
		if _, err := w.next.Write(slices.Concat(before, after)); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	for _, o := range w.tap.targets(context.Background()) {
		o.Add(string(p))
	}
	return w.next.Write(p)
}

// writesToLog reports that a handler is the one that slog begins with, or made
// of it. It has no exported name.
func writesToLog(h slog.Handler) bool { return fmt.Sprintf("%T", h) == "*slog.defaultHandler" }

// shown returns the handler that shows what a step's own log captures: that of
// the runner's logger, without a tap, which would capture it again.
func shown(h slog.Handler) slog.Handler {
	if tapped, ok := h.(*tapHandler); ok {
		h = tapped.next
	}
	if h != nil && writesToLog(h) {
		return echoHandler{h}
	}
	return h
}

// An echoHandler marks what goes to package log.
type echoHandler struct{ slog.Handler }

func (h echoHandler) Handle(ctx context.Context, r slog.Record) error {
	d := &defaultLoggers
	d.Lock()
	tapped := d.tap != nil && d.tap.on.Load()
	d.Unlock()
	if tapped {
		r = r.Clone()
		r.Message = echo + r.Message
	}
	return h.Handler.Handle(ctx, r)
}

func (h echoHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return echoHandler{h.Handler.WithAttrs(attrs)}
}

func (h echoHandler) WithGroup(name string) slog.Handler {
	return echoHandler{h.Handler.WithGroup(name)}
}

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/aurora-migrate/aurora/cli/internal/report"
)

// A terminal keeps one live line at the bottom of standard output, above which
// everything else is written. Without a terminal there is no line and no
// colour, and it only passes text on.
type terminal struct {
	stdout, stderr io.Writer
	live           bool // standard output is a terminal that can redraw a line
	paint          report.Paint
	errIsTerminal  bool
	width          func() int

	mu    sync.Mutex
	shown bool
	line  func(time.Time) string // nil when there is nothing to show
	stop  chan struct{}
	wg    sync.WaitGroup
}

func newTerminal(stdout, stderr io.Writer, lookupEnv func(string) (string, bool)) *terminal {
	t := &terminal{stdout: stdout, stderr: stderr, width: func() int { return 80 }}
	_, isTerminal := terminalFile(stderr)
	t.errIsTerminal = isTerminal
	f, isTerminal := terminalFile(stdout)
	name, _ := lookupEnv("TERM")
	if !isTerminal || name == "dumb" {
		return t
	}
	t.live = true
	// https://no-color.org: present and not an empty string.
	noColor, _ := lookupEnv("NO_COLOR")
	t.paint = noColor == ""
	t.width = func() int {
		w, _, err := term.GetSize(int(f.Fd()))
		if err != nil || w < 20 {
			return 80
		}
		return w
	}
	return t
}

func terminalFile(w any) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// redrawEvery is fast enough for an eye and slow enough for a serial line.
const redrawEvery = 100 * time.Millisecond

// showLine shows what line returns, redrawn now and then, until the next call
// or stopLine. Colour codes are not allowed in it, since it is cut to width.
func (t *terminal) showLine(line func(now time.Time) string) {
	if !t.live {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line = line
	if t.stop == nil {
		stop := make(chan struct{})
		t.stop = stop
		t.wg.Go(func() {
			tick := time.NewTicker(redrawEvery)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					t.mu.Lock()
					t.draw()
					t.mu.Unlock()
				}
			}
		})
	}
	t.draw()
}

// stopLine removes the live line.
func (t *terminal) stopLine() {
	t.mu.Lock()
	stop := t.stop
	t.stop, t.line = nil, nil
	t.clear()
	t.mu.Unlock()
	if stop != nil {
		close(stop)
		t.wg.Wait()
	}
}

func (t *terminal) draw() {
	if t.line == nil {
		return
	}
	text := t.line(time.Now())
	if limit := t.width() - 1; utf8.RuneCountInString(text) > limit {
		text = string([]rune(text)[:limit])
	}
	_, _ = fmt.Fprint(t.stdout, "\r\x1b[K"+t.paint.Gray("%s", text))
	t.shown = true
}

func (t *terminal) clear() {
	if t.shown {
		_, _ = io.WriteString(t.stdout, "\r\x1b[K")
		t.shown = false
	}
}

// out and err return writers that keep the live line out of the way.
func (t *terminal) out() io.Writer { return aboveLine{t, t.stdout, true} }
func (t *terminal) err() io.Writer { return aboveLine{t, t.stderr, t.errIsTerminal} }

type aboveLine struct {
	t     *terminal
	w     io.Writer
	clear bool
}

func (a aboveLine) Write(p []byte) (int, error) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	if a.clear {
		a.t.clear()
		defer func() {
			if strings.HasSuffix(string(p), "\n") {
				a.t.draw()
			}
		}()
	}
	return a.w.Write(p)
}

// A pipeWriter goes on without a reader: `aurora migrate apply | head` must
// not stop a run half-way (A3).
type pipeWriter struct {
	w      io.Writer
	closed bool
	failed error // what went wrong otherwise: a full disk, say
}

func (p *pipeWriter) Write(b []byte) (int, error) {
	if p.closed {
		return len(b), nil
	}
	n, err := p.w.Write(b)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		p.closed = true
		return len(b), nil
	}
	if err != nil && p.failed == nil {
		p.failed = err
	}
	return n, err
}

package aurora_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

// A screen is where a test's default loggers write.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// defaultLoggers makes the default loggers write to a screen until the test
// ends. With custom, the default slog handler is not the one that a program
// begins with.
func defaultLoggers(t *testing.T, custom bool) *screen {
	t.Helper()
	s := new(screen)
	logger, writer, flags := slog.Default(), log.Writer(), log.Flags()
	t.Cleanup(func() { slog.SetDefault(logger); log.SetOutput(writer); log.SetFlags(flags) })
	if custom {
		slog.SetDefault(slog.New(slog.NewJSONHandler(s, &slog.HandlerOptions{Level: slog.LevelWarn})))
	} else {
		log.SetOutput(s)
	}
	return s
}

// counts says how often each text is in s.
func counts(s string, texts ...string) []int {
	n := make([]int, len(texts))
	for i, text := range texts {
		n[i] = strings.Count(s, text)
	}
	return n
}

func outputOf(t *testing.T, store *auroratest.Memory) string {
	t.Helper()
	all := store.All()
	return all[len(all)-1].Output
}

// What a step says by any of the usual ways is in its output once, and shown
// where it is shown without a run.
func TestDefaultLoggersAreCaptured(t *testing.T) {
	for _, tt := range []struct {
		name   string
		custom bool
		shown  string // of the default loggers, by level
		runner func() *slog.Logger
	}{
		{"as a program begins", false, "iwpa", func() *slog.Logger { return nil }},
		{"as a program begins, for the runner too", false, "iwpaeg", slog.Default},
		{"another default", true, "w", func() *slog.Logger { return nil }},
		{"another default, for the runner too", true, "weg", slog.Default},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := defaultLoggers(t, tt.custom)
			before, writer, flags := slog.Default(), log.Writer(), log.Flags()
			store := new(auroratest.Memory)
			m := goStep("1_a", func(ctx context.Context, env *aurora.Env) error {
				slog.Info("say-i", "k", 1)
				slog.WarnContext(ctx, "say-w")
				log.Print("say-p")
				slog.Default().With("a", 1).WithGroup("g").Info("say-a", "b", 2)
				env.Log.Error("say-e")
				env.Log.With("x", "y").Error("say-g")
				slog.Debug("not")
				return nil
			})
			r := &aurora.Runner{Store: store, Migrations: mlist{m}, Logger: tt.runner()}
			if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
				t.Fatal(err)
			}
			out := outputOf(t, store)
			if strings.Contains(out, "not") || strings.Contains(out+s.String(), "\u2063") || !strings.Contains(out, "g.b=2") || !strings.Contains(out, "x=y") {
				t.Errorf("output:\n%s\nscreen:\n%s", out, s)
			}
			for _, what := range "iwpaeg" {
				if n := counts(out, "say-"+string(what))[0]; n != 1 {
					t.Errorf("say-%c is %d times in the output:\n%s", what, n, out)
				}
				want := strings.Count(tt.shown, string(what))
				if tt.custom && what == 'p' {
					want = 0 // package log is at level Info there
				}
				if n := counts(s.String(), "say-"+string(what))[0]; n != want {
					t.Errorf("say-%c is shown %d times, want %d:\n%s", what, n, want, s)
				}
			}
			if slog.Default() != before || log.Writer() != writer || log.Flags() != flags {
				t.Error("the default loggers are not as they were")
			}
			slog.Warn("after")
			if !strings.Contains(s.String(), "after") || strings.Contains(outputOf(t, store), "after") {
				t.Errorf("after the run:\n%s", s)
			}
		})
	}
}

// Of several steps that run at once in a process, each has what was logged with
// its context, and all have what nobody can tell apart.
func TestDefaultLoggersOfSeveralRunners(t *testing.T) {
	for _, custom := range []bool{false, true} {
		defaultLoggers(t, custom)
		before, writer := slog.Default(), log.Writer()
		var stores [3]auroratest.Memory
		var ready, said, wg sync.WaitGroup
		ready.Add(len(stores))
		said.Add(len(stores))
		for i := range stores {
			name := string(rune('a' + i))
			wg.Go(func() {
				m := goStep("1_a", func(ctx context.Context, env *aurora.Env) error {
					ready.Done()
					ready.Wait()
					slog.WarnContext(ctx, "of-"+name)
					log.Print("all-" + name)
					env.Log.Info("own-" + name)
					said.Done()
					said.Wait()
					return nil
				})
				r := &aurora.Runner{Store: &stores[i], Migrations: mlist{m}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
				if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range stores {
			out := outputOf(t, &stores[i])
			for k := range stores {
				name := string(rune('a' + k))
				want := 0
				if i == k {
					want = 1
				}
				if n := counts(out, "own-"+name)[0]; n != want {
					t.Errorf("own-%s is %d times in the output of %d, want %d", name, n, i, want)
				}
				if n := counts(out, "of-"+name)[0]; n != want && custom {
					t.Errorf("of-%s is %d times in the output of %d, want %d:\n%s", name, n, i, want, out)
				}
				if n := counts(out, "all-"+name)[0]; n != 1 {
					t.Errorf("all-%s is %d times in the output of %d:\n%s", name, n, i, out)
				}
			}
		}
		if slog.Default() != before || log.Writer() != writer {
			t.Error("the default loggers are not as they were")
		}
	}
}

// However a step ends, the default loggers are given back; what a step or the
// program put in their place meanwhile stays.
func TestDefaultLoggersAreGivenBack(t *testing.T) {
	own := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, custom := range []bool{false, true} {
		for name, do := range map[string]func(){
			"panic": func() { panic("no") },
			"exit":  runtime.Goexit,
			"own":   func() { slog.SetDefault(own) },
		} {
			t.Run(name, func(t *testing.T) {
				defaultLoggers(t, custom)
				before, writer := slog.Default(), log.Writer()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					r := &aurora.Runner{Store: new(auroratest.Memory), Migrations: mlist{goStep("1_a", func(context.Context, *aurora.Env) error {
						do()
						return nil
					})}}
					_, _ = r.Run(t.Context(), aurora.Request{})
				}()
				<-ended
				if name == "own" {
					if slog.Default() != own {
						t.Error("the step's own default logger is gone")
					}
					return
				}
				if slog.Default() != before || log.Writer() != writer {
					t.Error("the default loggers are not as they were")
				}
			})
		}
	}
}

// Everybody may log while taps come and go: nothing waits for itself.
func TestDefaultLoggersUnderLoad(t *testing.T) {
	for _, custom := range []bool{false, true} {
		defaultLoggers(t, custom)
		stop := make(chan struct{})
		var noise, runs sync.WaitGroup
		for range 3 {
			noise.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						log.Print("x")
						slog.Warn("y")
					}
				}
			})
		}
		for range 4 {
			runs.Go(func() {
				for range 25 {
					r := &aurora.Runner{Store: new(auroratest.Memory), Logger: slog.Default(), Migrations: mlist{goStep("1_a", func(ctx context.Context, env *aurora.Env) error {
						env.Log.Info("z")
						slog.InfoContext(ctx, "z")
						return nil
					})}}
					if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		runs.Wait()
		close(stop)
		noise.Wait()
	}
}

// A saver counts what is saved.
type saver struct {
	*auroratest.Memory
	outputs int // that are not those saved before
	bytes   int
	last    string
}

type saverLease struct {
	aurora.Lease
	s *saver
}

func (s *saver) Acquire(ctx context.Context, h aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	l, err := s.Memory.Acquire(ctx, h, ttl)
	return saverLease{l, s}, err
}

func (l saverLease) Save(ctx context.Context, revisions ...aurora.Revision) error {
	if out := revisions[0].Output; out != l.s.last {
		l.s.last = out
		l.s.outputs++
		l.s.bytes += len(out)
	}
	return l.Lease.Save(ctx, revisions...)
}

// The output is saved while a step runs: soon while there is little of it, and
// never so often that saving it costs more than about 20 KB a second, however
// much is logged and however often the step saves checkpoints.
func TestSavingOutputIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &saver{Memory: new(auroratest.Memory)}
		started := time.Now()
		line := strings.Repeat("x", 1000)
		m := goStep("1_a", func(ctx context.Context, env *aurora.Env) error {
			env.Log.Info("first line")
			time.Sleep(time.Second)
			if !strings.Contains(outputOf(t, s.Memory), "first line") {
				t.Error("after a second, the first line is not saved")
			}
			for time.Since(started) < 5*time.Minute {
				log.Print("now " + time.Now().Format(time.RFC3339Nano))
				env.Log.Info(line)
				time.Sleep(50 * time.Millisecond)
				if err := env.Checkpoint(ctx, 1); err != nil {
					return err
				}
			}
			_, rest, _ := strings.Cut(outputOf(t, s.Memory), "now ")
			i := strings.LastIndex("now "+rest, "now ")
			last, _, _ := strings.Cut(("now " + rest)[i+4:], "\n")
			at, err := time.Parse(time.RFC3339Nano, last)
			if err != nil {
				t.Error(err)
			}
			if age := time.Since(at); age > 12*time.Second {
				t.Errorf("the newest line that is saved is %s old", age)
			}
			return nil
		})
		defaultLoggers(t, false)
		r := &aurora.Runner{Store: s, Migrations: mlist{m}}
		if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
			t.Fatal(err)
		}
		if rate := float64(s.bytes) / time.Since(started).Seconds(); rate > 24<<10 {
			t.Errorf("%d bytes of output were saved %d times: %.0f a second", s.bytes, s.outputs, rate)
		}
		if s.outputs < 20 {
			t.Errorf("the output was saved only %d times", s.outputs)
		}
		if out := outputOf(t, s.Memory); len(out) < 190<<10 || len(out) > aurora.OutputLimit {
			t.Errorf("at the end %d bytes are kept", len(out))
		}
	})
}

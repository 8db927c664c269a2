package aurora_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

func TestCheckpointValues(t *testing.T) {
	type place struct {
		Key  map[string]string
		Done int
	}
	var env aurora.Env // outside of a run, as in a test of a step
	var got place
	if ok, err := env.Resume(&got); ok || err != nil {
		t.Errorf("Resume without a checkpoint: %v, %v", ok, err)
	}
	want := place{map[string]string{"pk": "user#1"}, 7}
	if err := env.Checkpoint(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if ok, err := env.Resume(&got); !ok || err != nil {
		t.Errorf("Resume: %v, %v", ok, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var number int
	if _, err := env.Resume(&number); err == nil {
		t.Error("Resume into a type that does not fit says nothing")
	}
	if err := env.Checkpoint(t.Context(), func() {}); err == nil {
		t.Error("Checkpoint of a function says nothing")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := env.Checkpoint(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Checkpoint when the step should stop: %v", err)
	}
	if err := env.Checkpoint(t.Context(), nil); err != nil {
		t.Error(err)
	}
	var none *place
	if ok, err := env.Resume(&none); !ok || err != nil || none != nil {
		t.Errorf("Resume of null: %v, %v", ok, err)
	}
}

// A step that commits by itself is recorded by its own transaction: done, or
// paused with its checkpoint, and never otherwise.
func TestAtomically(t *testing.T) {
	var stored aurora.Revision // what the step's transaction stores
	commits := 0
	commit := func(rev aurora.Revision) error { stored = rev; commits++; return nil }
	broken := errors.New("no")
	for _, tt := range []struct {
		name       string
		do         func(ctx context.Context, env *aurora.Env) error
		commit     func(aurora.Revision) error
		want       error
		commits    int
		done       int
		checkpoint string
		states     []string
	}{
		{"done", func(ctx context.Context, env *aurora.Env) error { return env.Checkpoint(ctx, 1) },
			commit, nil, 1, 1, "", []string{"1_a up completed 2/2"}},
		{"paused", func(ctx context.Context, env *aurora.Env) error {
			return errors.Join(env.Checkpoint(ctx, 7), aurora.ErrPaused)
		}, commit, aurora.ErrPaused, 1, 0, "7", []string{"1_a up paused 0/2"}},
		{"paused without a checkpoint", func(context.Context, *aurora.Env) error { return aurora.ErrPaused },
			commit, aurora.ErrPaused, 0, 0, "", []string{"1_a up paused 0/2"}},
		{"failed", func(context.Context, *aurora.Env) error { return broken },
			commit, broken, 0, 0, "", []string{"1_a up failed 0/2"}},
		{"commit failed", func(context.Context, *aurora.Env) error { return nil },
			func(aurora.Revision) error { return broken }, broken, 0, 0, "", []string{"1_a up failed 0/2"}},
		// Nothing may be written over what the transaction may have stored.
		{"commit unknown", func(context.Context, *aurora.Env) error { return nil },
			func(aurora.Revision) error { return aurora.ErrOutcomeUnknown }, aurora.ErrOutcomeUnknown, 0, 0, "", []string{"1_a up running 0/2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stored, commits = aurora.Revision{}, 0
			store := new(auroratest.Memory)
			var token int64
			m := goStep("1_a", func(ctx context.Context, env *aurora.Env) error {
				token = env.Token()
				return env.Atomically(func(env *aurora.Env) error {
					saves := store.Calls(auroratest.OpSave)
					err := tt.do(ctx, env)
					if store.Calls(auroratest.OpSave) != saves || env.Token() != token {
						t.Error("a checkpoint within the transaction was saved outside of it")
					}
					env.Log.Info("in the transaction")
					return err
				}, tt.commit)
			})
			m.Up = append(m.Up, aurora.Func{Name: "second", Do: func(context.Context, *aurora.Env) error { return nil }})
			_, err := (&aurora.Runner{Store: store, Migrations: mlist{m}}).Run(t.Context(), aurora.Request{})
			if !errors.Is(err, tt.want) {
				t.Errorf("Run: %v, want %v", err, tt.want)
			}
			if commits != tt.commits || stored.Done != tt.done || string(stored.Checkpoint) != tt.checkpoint {
				t.Errorf("%d commits, stored %+v", commits, stored)
			}
			if tt.commits > 0 && (len(stored.Hashes) != tt.done || !strings.Contains(stored.Output, "in the transaction") || stored.State != aurora.Running) {
				t.Errorf("stored %+v", stored)
			}
			wantStates(t, store, tt.states...)
			if all := store.All(); token == 0 || token != all[0].Token {
				t.Errorf("the token is %d, that of the history %d", token, all[0].Token)
			}
			if tt.name == "paused" && string(store.All()[0].Checkpoint) != "7" {
				t.Errorf("the checkpoint is %s", store.All()[0].Checkpoint)
			}
		})
	}
	if err := new(aurora.Env).Atomically(nil, nil); err == nil || new(aurora.Env).Token() != 0 {
		t.Errorf("outside of a run: %v", err)
	}
}

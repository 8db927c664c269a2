package aurora_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
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

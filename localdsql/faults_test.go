package localdsql

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hits returns the numbers of the events that go wrong.
func hits(f *Faults, kind FaultKind, events int) []int {
	var out []int
	for n := 1; n <= events; n++ {
		if f.hit(kind) {
			out = append(out, n)
		}
	}
	return out
}

func TestParseFaults(t *testing.T) {
	for _, tt := range []struct{ spec, want string }{
		{"", ""},
		{" oc000=20% , oc001=0.5%", "oc000=20%,oc001=0.5%"},
		{"oc000@7,oc000@3,oc000=1%", "oc000=1%,oc000@3,oc000@7"},
		{"job-fail=10%,job-delay=2s,delay=1500us,seed=7", "job-fail=10%,delay=1.5ms,job-delay=2s,seed=7"},
		{"drop@1,drop-after@2,busy@1,rate@1,waking@1,expired@1", "drop@1,drop-after@2,busy@1,rate@1,waking@1,expired@1"},
	} {
		f, err := ParseFaults(tt.spec)
		if err != nil {
			t.Errorf("%q: %v", tt.spec, err)
			continue
		}
		if got := f.String(); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.spec, got, tt.want)
		}
	}
	for spec, want := range map[string]string{
		"oc000":       "want KIND=N% or KIND@N",
		"oc002=1%":    `"oc002" is not a kind of fault: want one of oc000, `,
		"oc000=20":    "want a share, as in oc000=20%",
		"oc000=NaN%":  "want a share",
		"oc000=101%":  "want a share",
		"oc000=-1%":   "want a share",
		"oc000@0":     "want a number from 1",
		"oc000@x":     "want a number from 1",
		"seed=-1":     "want a number",
		"delay=5":     "want a duration",
		"job-delay=x": "want a duration",
		"OC000=1%":    "is not a kind",
	} {
		if _, err := ParseFaults(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", spec, err, want)
		}
	}
}

func TestFaultsByNumber(t *testing.T) {
	f, err := ParseFaults("oc000@3,oc000@5")
	if err != nil {
		t.Fatal(err)
	}
	if got := hits(f, FaultConflict, 10); !cmp.Equal(got, []int{3, 5}) {
		t.Errorf("got %v", got)
	}
	if events, injected := f.Count(FaultConflict); events != 10 || injected != 2 {
		t.Errorf("counted %d and %d", events, injected)
	}
	f.Next(FaultConflict, 2)
	if got := hits(f, FaultConflict, 5); !cmp.Equal(got, []int{1, 2}) {
		t.Errorf("next two: got %v", got)
	}
	if got := hits(f, FaultSchema, 5); got != nil {
		t.Errorf("another kind: got %v", got)
	}
	f.Clear()
	f.At(FaultConflict, 2)
	if got := hits(f, FaultConflict, 5); !cmp.Equal(got, []int{2}) {
		t.Errorf("counted anew: got %v", got)
	}
	if f.Clear(); hits(f, FaultConflict, 3) != nil {
		t.Error("cleared rules hold")
	}
}

func TestFaultsByShare(t *testing.T) {
	run := func(spec string) []int {
		f, err := ParseFaults(spec)
		if err != nil {
			t.Fatal(err)
		}
		return hits(f, FaultConflict, 10_000)
	}
	first := run("oc000=20%,seed=7")
	if len(first) < 1800 || len(first) > 2200 {
		t.Errorf("20%% of 10,000 are %d", len(first))
	}
	if again := run("oc000=20%,seed=7"); !cmp.Equal(first, again) {
		t.Error("the same seed gives others")
	}
	if cmp.Equal(first, run("oc000=20%,seed=8")) || cmp.Equal(first, run("oc000=20%")) {
		t.Error("another seed gives the same")
	}
	if got := run("oc000=100%"); len(got) != 10_000 {
		t.Errorf("all are %d", len(got))
	}
	if got := run("oc000=0%"); len(got) != 0 {
		t.Errorf("none are %d", len(got))
	}
}

func TestFaultsAtOnce(t *testing.T) {
	f := &Faults{}
	f.Seed(7)
	f.Share(FaultConflict, 0.2)
	want, err := ParseFaults("oc000=20%,seed=7")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { hits(f, FaultConflict, 500) })
	}
	wg.Wait()
	hits(want, FaultConflict, 4000)
	events, injected := f.Count(FaultConflict)
	if _, n := want.Count(FaultConflict); events != 4000 || injected != n {
		t.Errorf("%d of %d failed, want %d of 4000", injected, events, n)
	}
}

func TestFaultDelays(t *testing.T) {
	var none *Faults
	if s, j := none.delays(); s != 0 || j != 0 || none.hit(FaultDrop) || none.String() != "" {
		t.Error("no faults do something")
	}
	f := &Faults{}
	f.Delay(time.Second)
	f.JobDelay(time.Minute)
	if s, j := f.delays(); s != time.Second || j != time.Minute {
		t.Errorf("got %v and %v", s, j)
	}
	if err := f.checkConnection(); err == nil {
		t.Error("a connection can delay jobs")
	}
	for spec, ok := range map[string]bool{"oc000=1%,drop@2,delay=1ms,busy@1": true, "job-fail@1": false} {
		f, err := ParseFaults(spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.checkConnection(); (err == nil) != ok {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

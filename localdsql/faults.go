package localdsql

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A FaultKind is something that can be made to go wrong.
type FaultKind string

// The kinds of faults, and what is counted for each.
const (
	// FaultConflict fails a commit that wrote, as if another transaction had
	// changed the same rows: 40001 (OC000). Every such commit counts, of a
	// statement outside of a transaction block too.
	FaultConflict FaultKind = "oc000"
	// FaultSchema fails a statement as if the schema had just been changed:
	// 40001 (OC001). Every statement counts.
	FaultSchema FaultKind = "oc001"
	// FaultDrop ends the connection before a statement has run, FaultDropAfter
	// after it has and before its result is sent; for a COMMIT that leaves the
	// client in doubt. Every statement counts.
	FaultDrop      FaultKind = "drop"
	FaultDropAfter FaultKind = "drop-after"
	// FaultJob makes an asynchronous job fail. Every job counts.
	FaultJob FaultKind = "job-fail"
	// The rest refuse a login: as too many connections (53300), as too many in
	// a second (53400), because the cluster is waking up, because the token has
	// expired. Every login counts.
	FaultBusy    FaultKind = "busy"
	FaultRate    FaultKind = "rate"
	FaultWaking  FaultKind = "waking"
	FaultExpired FaultKind = "expired"
)

var faultKinds = []FaultKind{FaultConflict, FaultSchema, FaultDrop, FaultDropAfter, FaultJob, FaultBusy, FaultRate, FaultWaking, FaultExpired}

// clusterOnly reports whether a kind is for a cluster and not for one
// connection, which has no jobs of its own.
func (k FaultKind) clusterOnly() bool { return k == FaultJob }

// Faults say what goes wrong in a cluster, or on one connection. What they do
// depends on their rules, the seed and the number of an event only, so that a
// run with one connection can be repeated exactly, and one with several fails
// as often. The zero value lets everything pass. Methods may be called from
// several goroutines, while the cluster is in use.
type Faults struct {
	active atomic.Bool // whether there is any rule: the way out for the many without

	mu       sync.Mutex
	seed     uint64
	rules    map[FaultKind]*faultRule
	delay    time.Duration
	jobDelay time.Duration
}

type faultRule struct {
	share    float64
	at       map[int]bool
	events   int
	injected int
}

// ParseFaults reads rules as [Faults.Set] does.
func ParseFaults(spec string) (*Faults, error) {
	f := &Faults{}
	if err := f.Set(spec); err != nil {
		return nil, err
	}
	return f, nil
}

// Set replaces all rules, and counts anew. A specification is a list, with
// commas between, of
//
//	KIND=N%      each event of that kind goes wrong with that probability
//	KIND@N       the N-th event of that kind goes wrong; may be there repeatedly
//	delay=D      every statement takes that much longer, as in 20ms
//	job-delay=D  every job takes that much longer
//	seed=N       another sequence of chances; 1 unless said
//
// where KIND is one of the constants, such as oc000. An empty one removes all.
func (f *Faults) Set(spec string) error {
	n := &Faults{}
	for item := range strings.SplitSeq(spec, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		if err := n.set(item); err != nil {
			return fmt.Errorf("faults: %w", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seed, f.rules, f.delay, f.jobDelay = n.seed, n.rules, n.delay, n.jobDelay
	f.activate()
	return nil
}

// set adds one item of a specification.
func (f *Faults) set(item string) error {
	if name, number, ok := strings.Cut(item, "@"); ok {
		kind, err := faultKind(name)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return fmt.Errorf("%s: want a number from 1, as in %s@3", item, kind)
		}
		f.rule(kind).at[n] = true
		return nil
	}
	name, value, ok := strings.Cut(item, "=")
	if !ok {
		return fmt.Errorf("%s: want KIND=N%% or KIND@N", item)
	}
	var err error
	switch name {
	case "seed":
		f.seed, err = strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%s: want a number", item)
		}
	case "delay", "job-delay":
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return fmt.Errorf("%s: want a duration, as in %s=20ms", item, name)
		}
		if name == "delay" {
			f.delay = d
		} else {
			f.jobDelay = d
		}
	default:
		kind, err := faultKind(name)
		if err != nil {
			return err
		}
		percent, found := strings.CutSuffix(value, "%")
		share, err := strconv.ParseFloat(percent, 64)
		if err != nil || !found || math.IsNaN(share) || share < 0 || share > 100 {
			return fmt.Errorf("%s: want a share, as in %s=20%%", item, kind)
		}
		f.rule(kind).share = share / 100
	}
	return nil
}

func faultKind(name string) (FaultKind, error) {
	if slices.Contains(faultKinds, FaultKind(name)) {
		return FaultKind(name), nil
	}
	names := make([]string, len(faultKinds))
	for i, k := range faultKinds {
		names[i] = string(k)
	}
	return "", fmt.Errorf("%q is not a kind of fault: want one of %s", name, strings.Join(names, ", "))
}

// rule returns the rule of a kind, made if need be. The lock is held.
func (f *Faults) rule(kind FaultKind) *faultRule {
	r := f.rules[kind]
	if r == nil {
		if f.rules == nil {
			f.rules = map[FaultKind]*faultRule{}
		}
		r = &faultRule{at: map[int]bool{}}
		f.rules[kind] = r
	}
	return r
}

func (f *Faults) activate() {
	f.active.Store(len(f.rules) > 0 || f.delay > 0 || f.jobDelay > 0)
}

func (f *Faults) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	f.activate()
}

// Share makes events of a kind go wrong with a probability from 0 to 1.
func (f *Faults) Share(kind FaultKind, share float64) {
	f.change(func() { f.rule(kind).share = share })
}

// At makes the events with these numbers go wrong. They are counted from 1,
// from the first rule for their kind.
func (f *Faults) At(kind FaultKind, numbers ...int) {
	f.change(func() {
		for _, n := range numbers {
			f.rule(kind).at[n] = true
		}
	})
}

// Next makes the next n events of a kind go wrong.
func (f *Faults) Next(kind FaultKind, n int) {
	f.change(func() {
		r := f.rule(kind)
		for i := range n {
			r.at[r.events+1+i] = true
		}
	})
}

// Delay makes every statement take that much longer.
func (f *Faults) Delay(d time.Duration) { f.change(func() { f.delay = d }) }

// JobDelay makes every job take that much longer.
func (f *Faults) JobDelay(d time.Duration) { f.change(func() { f.jobDelay = d }) }

// Seed chooses another sequence of chances.
func (f *Faults) Seed(seed uint64) { f.change(func() { f.seed = seed }) }

// Clear removes all rules: nothing goes wrong any more.
func (f *Faults) Clear() {
	f.change(func() { f.rules, f.delay, f.jobDelay = nil, 0, 0 })
}

// Count returns how many events of a kind there were since the first rule for
// it, and how many of them were made to go wrong.
func (f *Faults) Count(kind FaultKind) (events, injected int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.rules[kind]; r != nil {
		return r.events, r.injected
	}
	return 0, 0
}

// String returns the rules as [ParseFaults] reads them.
func (f *Faults) String() string {
	if f == nil {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var items []string
	for _, kind := range faultKinds {
		r := f.rules[kind]
		if r == nil {
			continue
		}
		if r.share > 0 {
			items = append(items, fmt.Sprintf("%s=%s%%", kind, strconv.FormatFloat(r.share*100, 'f', -1, 64)))
		}
		for _, n := range slices.Sorted(maps.Keys(r.at)) {
			items = append(items, fmt.Sprintf("%s@%d", kind, n))
		}
	}
	if f.delay > 0 {
		items = append(items, fmt.Sprintf("delay=%s", f.delay))
	}
	if f.jobDelay > 0 {
		items = append(items, fmt.Sprintf("job-delay=%s", f.jobDelay))
	}
	if len(items) > 0 && f.seed > 1 {
		items = append(items, fmt.Sprintf("seed=%d", f.seed))
	}
	return strings.Join(items, ",")
}

// hit counts an event and says whether it is to go wrong.
func (f *Faults) hit(kind FaultKind) bool {
	if f == nil || !f.active.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rules[kind]
	if r == nil {
		return false
	}
	r.events++
	if !r.at[r.events] && chance(max(f.seed, 1), kind, r.events) >= r.share {
		return false
	}
	r.injected++
	return true
}

// delays returns what statements and jobs are to wait.
func (f *Faults) delays() (statement, job time.Duration) {
	if f == nil || !f.active.Load() {
		return 0, 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.delay, f.jobDelay
}

// checkConnection refuses rules that one connection cannot have.
func (f *Faults) checkConnection() error {
	for _, kind := range faultKinds {
		if f.rules[kind] != nil && kind.clusterOnly() {
			return fmt.Errorf("faults: %s is for a cluster, not for a connection", kind)
		}
	}
	if f.jobDelay != 0 {
		return fmt.Errorf("faults: job-delay is for a cluster, not for a connection")
	}
	return nil
}

// chance returns a number from 0 up to 1 that depends on its arguments only.
func chance(seed uint64, kind FaultKind, n int) float64 {
	// splitmix64, by Sebastiano Vigna (public domain), over an FNV-1a hash.
	x := uint64(14695981039346656037)
	for _, b := range []byte(kind) {
		x = (x ^ uint64(b)) * 1099511628211
	}
	x ^= seed * 0x9e3779b97f4a7c15
	x += uint64(n) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}

package lambdahandler

import (
	"time"
)

// minMargin and marginShare make the default margin: the larger of the two.
const (
	minMargin   = 10 * time.Second
	marginShare = 20 // one twentieth of the invocation's time
)

// marginOf returns how long before the deadline a run is to pause, of an
// invocation that has left. wanted is what was configured, or zero.
func marginOf(left, wanted time.Duration) time.Duration {
	if wanted <= 0 {
		// Most of a short invocation is for the work.
		return min(max(minMargin, left/marginShare), left/3)
	}
	return min(wanted, left/2)
}

// A clock divides up the end of an invocation: whoever waits for the deadline
// itself is killed before it can say anything. Zero times mean never.
type clock struct {
	limit   time.Duration // the whole invocation
	pause   time.Duration // before cancel: steps stop at their next checkpoint
	cancel  time.Time     // the context of steps that have not stopped ends
	abandon time.Time     // a step that heeds neither is left behind
	last    time.Time     // nothing is begun after this
}

func newClock(now, deadline time.Time, wanted time.Duration) clock {
	left := deadline.Sub(now)
	m := marginOf(left, wanted)
	return clock{
		limit: left, pause: m / 2,
		cancel: deadline.Add(-m / 2), abandon: deadline.Add(-m / 4), last: deadline.Add(-m / 8),
	}
}

// after returns a channel that is sent to at t, or never for a zero t.
func after(t time.Time) (<-chan time.Time, func() bool) {
	if t.IsZero() {
		return nil, func() bool { return false }
	}
	timer := time.NewTimer(time.Until(t))
	return timer.C, timer.Stop
}

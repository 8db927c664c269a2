package lambdahandler

import (
	"testing"
	"time"
)

func TestMargin(t *testing.T) {
	for _, tt := range []struct{ left, wanted, want time.Duration }{
		{15 * time.Minute, 0, 45 * time.Second},
		{5 * time.Minute, 0, 15 * time.Second},
		{time.Minute, 0, 10 * time.Second},
		{30 * time.Second, 0, 10 * time.Second},
		{3 * time.Second, 0, time.Second},
		{300 * time.Millisecond, 0, 100 * time.Millisecond},
		{15 * time.Minute, time.Minute, time.Minute},
		{15 * time.Minute, time.Second, time.Second},
		{3 * time.Second, 10 * time.Second, 1500 * time.Millisecond},
	} {
		if got := marginOf(tt.left, tt.wanted); got != tt.want {
			t.Errorf("marginOf(%s, %s) = %s, want %s", tt.left, tt.wanted, got, tt.want)
		}
	}
}

// The parts of the end of an invocation follow each other.
func TestClock(t *testing.T) {
	now := time.Now()
	for _, limit := range []time.Duration{100 * time.Millisecond, 3 * time.Second, time.Minute, 15 * time.Minute} {
		deadline := now.Add(limit)
		c := newClock(now, deadline, 0)
		pause := c.cancel.Add(-c.pause)
		if !now.Before(pause) || !pause.Before(c.cancel) || !c.cancel.Before(c.abandon) || !c.abandon.Before(c.last) || !c.last.Before(deadline) {
			t.Errorf("%s: pause %s, cancel %s, abandon %s, last %s", limit, pause.Sub(now), c.cancel.Sub(now), c.abandon.Sub(now), c.last.Sub(now))
		}
	}
}

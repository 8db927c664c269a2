package backfill

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// A pacer lets workers go on at the rate that is asked for and that the
// database bears.
type pacer struct {
	limit float64 // rows a second; 0 is none

	mu      sync.Mutex
	bearing float64       // what the database bears, in rows a second; 0 is unknown
	share   float64       // of the time to be at work
	owed    float64       // rows that were let go and are not yet paid by time
	paid    time.Time     // until when
	changed chan struct{} // closed when share changes

	window   time.Time // since when rows are counted
	rows     float64   // in the window
	measured float64   // rows a second in the window before
	eased    time.Time // when bearing was last changed
}

func newPacer(limit float64, throttled bool) *pacer {
	p := &pacer{limit: limit, share: 1, changed: make(chan struct{}), window: time.Now(), paid: time.Now()}
	if throttled {
		p.share = 0 // until Throttle was asked
	}
	return p
}

// setShare takes what Throttle says.
func (p *pacer) setShare(share float64) {
	share = min(max(share, 0), 1)
	if math.IsNaN(share) {
		share = 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if share != p.share {
		p.share = share
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// wait returns when a batch of n may begin, or the backfill ends.
func (p *pacer) wait(ctx context.Context, halt <-chan struct{}, n int) {
	for {
		p.mu.Lock()
		share, changed := p.share, p.changed
		p.mu.Unlock()
		if share > 0 {
			break
		}
		select {
		case <-changed:
		case <-halt:
			return
		case <-ctx.Done():
			return
		}
	}
	for ctx.Err() == nil {
		d := p.reserve(n, time.Now())
		if d == 0 {
			return
		}
		sleep(ctx, halt, min(d, 200*time.Millisecond)) // the rate may change
		select {
		case <-halt:
			return
		default:
		}
	}
}

// reserve books n rows, or returns about how long to wait before.
func (p *pacer) reserve(n int, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := p.rate()
	p.owed -= rate * now.Sub(p.paid).Seconds()
	p.paid = now
	if rate == 0 || p.owed <= 0 {
		p.owed = float64(n)
		return 0
	}
	return max(time.Duration(p.owed/rate*float64(time.Second)), time.Millisecond)
}

func (p *pacer) rate() float64 {
	if p.bearing > 0 && (p.limit == 0 || p.bearing < p.limit) {
		return p.bearing
	}
	return p.limit
}

// rest is how long to be idle after having worked for d.
func (p *pacer) rest(d time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.share <= 0 || p.share >= 1 {
		return 0
	}
	return min(time.Duration(float64(d)*(1/p.share-1)), time.Minute)
}

// did counts rows that were visited, and lets the rate rise again while nobody
// complains: a fifth a second and a little, until it is far above what is used.
func (p *pacer) did(n int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows += float64(n)
	elapsed := now.Sub(p.window).Seconds()
	if elapsed < 1 {
		return
	}
	p.measured, p.rows, p.window = p.rows/elapsed, 0, now
	if p.bearing > 0 && now.Sub(p.eased) >= time.Second {
		p.bearing, p.eased = p.bearing*1.2+5, now
		if p.bearing > 4*p.measured {
			p.bearing = 0
		}
	}
}

// complained takes less after the database said that it is too much: seven
// tenths, once in half a second however many requests it refuses.
func (p *pacer) complained(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.eased) < time.Second/2 {
		return
	}
	rate := p.bearing
	if rate == 0 {
		if rate = p.measured; rate == 0 {
			rate = p.rows / max(now.Sub(p.window).Seconds(), 0.05)
		}
		if rate == 0 {
			return // nothing to go by yet: pauses between the tries have to do
		}
	}
	p.bearing, p.eased = max(rate*0.7, 5), now
}

// cap is the largest batch that does not go beyond a second's share of the rate
// for one of so many.
func (p *pacer) cap(batch, of int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rate := p.rate(); rate > 0 {
		batch = max(1, int(min(float64(batch), rate/float64(of))))
	}
	return batch
}

// A sizer adapts the size of batches to the time they take.
type sizer struct {
	target time.Duration
	size   int
	max    int
	growth float64
}

func newSizer(start, most int, target time.Duration) *sizer {
	return &sizer{target: target, size: min(start, most), max: most, growth: 2}
}

// took takes how long a batch of about the present size took.
func (s *sizer) took(d time.Duration) {
	factor := s.growth
	if d > 0 {
		factor = float64(s.target) / float64(d)
	}
	factor = min(max(factor, 0.5), s.growth)
	s.size = min(max(1, int(math.Ceil(float64(s.size)*factor))), s.max)
}

// tooMuch halves it, and lets it grow slowly from now on.
func (s *sizer) tooMuch(n int) { s.size, s.growth = max(1, min(s.size, n)/2), 1.1 }

// met makes batches smaller that met another transaction again and again: fewer
// rows meet fewer others, but below some dozens it is not their number.
func (s *sizer) met() { s.size = max(min(s.size, 50), s.size/2) }

// pauseAfter is how long to wait after the n-th failure in a row, from 0: twice
// as long each time, and any part of it, so that those who met do not meet
// again.
func pauseAfter(n int) time.Duration {
	return rand.N(min(20*time.Millisecond<<min(n, 10), 2*time.Second)) + time.Millisecond
}

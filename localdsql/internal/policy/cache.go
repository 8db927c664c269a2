package policy

import "sync"

// What the cache keeps: two generations of so many decisions and bytes of text
// each, none of a longer text.
const (
	cacheEntries = 2048
	cacheBytes   = 1 << 20
	cachedText   = 16 << 10
)

// A cache keeps decisions by text. When the young generation is full, it
// becomes the old one, and what was asked for of that lives on.
type cache struct {
	mu         sync.RWMutex
	young, old map[string]*Decision
	bytes      int // of the texts in young
}

func (c *cache) get(sql string) *Decision {
	if len(sql) > cachedText {
		return nil
	}
	c.mu.RLock()
	d, isYoung := c.young[sql]
	if !isYoung {
		d = c.old[sql]
	}
	c.mu.RUnlock()
	if d != nil && !isYoung {
		c.put(d)
	}
	return d
}

func (c *cache) put(d *Decision) {
	if len(d.Text) > cachedText {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= cacheEntries || c.bytes+len(d.Text) > cacheBytes {
		c.old, c.young, c.bytes = c.young, make(map[string]*Decision), 0
	}
	c.young[d.Text] = d
	c.bytes += len(d.Text)
}

package filestore

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
)

// FuzzReadFrame reads a record, then bytes of any kind: the record is there,
// what follows is whole, torn or damaged, and nothing is read twice or skipped.
func FuzzReadFrame(f *testing.F) {
	whole := framed([]byte(`{"project":"default"}`))
	for _, tail := range [][]byte{
		nil, whole, whole[:5], whole[:frameHead], whole[:len(whole)-1], make([]byte, 100), append(make([]byte, 50), 'x'),
		[]byte("ffffffff 00000000 00000000 "), bytes.Repeat(whole, 3), append(bytes.Clone(whole), 0, 0),
	} {
		f.Add([]byte(`{"a":1}`), tail)
	}
	f.Fuzz(func(t *testing.T, payload, tail []byte) {
		first := framed(payload)
		file := append(bytes.Clone(first), tail...)
		r, size := bytes.NewReader(file), int64(len(file))
		got, line, err := readFrame(r, 0, size)
		if err != nil || !bytes.Equal(got, payload) || line != int64(len(first)) {
			t.Fatalf("the first record: %q, %d, %v", got, line, err)
		}
		offset := line
		for {
			got, line, err := readFrame(r, offset, size)
			if err == nil {
				if !bytes.Equal(framed(got), file[offset:offset+line]) {
					t.Fatalf("at %d: %q is not what is there", offset, got)
				}
				offset += line
				continue
			}
			var bad *damage
			switch {
			case errors.Is(err, io.EOF):
				if offset != size {
					t.Fatalf("the end is at %d of %d", offset, size)
				}
			case errors.Is(err, errTorn):
				// A tail is short of a record that it begins, or has nothing but
				// zeros from within it.
				rest := bytes.TrimRight(file[offset:], "\x00")
				if len(rest) >= frameHead {
					if n, ok := hex(rest[:8]); !ok || len(rest) >= frameHead+int(n)+1 {
						t.Fatalf("at %d: %q is no tail", offset, rest)
					}
				}
			case !errors.As(err, &bad) || bad.offset != offset:
				t.Fatalf("at %d: %v", offset, err)
			}
			return
		}
	})
}

// FuzzState applies records of any content.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"project":"a","lease":{"token":1,"held":true,"at":"2025-06-01T12:00:00Z","ttlMillis":1}}`))
	f.Add([]byte(`{"project":"a","save":[{"executionId":"e","version":"1"},{"executionId":"e","version":"1"}]}`))
	f.Add([]byte(`{"save":[null,1]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		st := newState(newHeader())
		line := framed(payload)
		file := append([]byte(st.header), line...)
		err := st.advance(bytes.NewReader(file), int64(len(file)))
		var bad *damage
		if !errors.Is(err, io.EOF) && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		if bad != nil {
			return
		}
		var live int64
		for _, p := range st.projects {
			l := &loader{f: bytes.NewReader(file), size: int64(len(file))}
			for _, e := range p.entries() {
				raw, r, err := l.load(e)
				if err != nil || r.Version != e.bare.Version || r.ExecutionID != e.bare.ExecutionID {
					t.Fatalf("load: %+v, %v; want %+v", r, err, e.bare)
				}
				live += int64(len(raw))
			}
		}
		if live != st.live {
			t.Errorf("%d bytes count, the state says %d", live, st.live)
		}
	})
}

func TestLeaseEndsByTheClock(t *testing.T) {
	at := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	held := leaseRecord{Token: 1, Held: true, At: at, TTLMillis: 30_000}
	tests := []struct {
		name string
		l    leaseRecord
		now  time.Duration // after it was renewed
		want bool
	}{
		{"just renewed", held, 0, false},
		{"shortly before its end", held, 29_999 * time.Millisecond, false},
		{"at its end", held, 30 * time.Second, true},
		{"after a clock was set back a little", held, -20 * time.Second, false},
		{"after a clock was set back by a day", held, -24 * time.Hour, true},
		{"given back", leaseRecord{Token: 1, At: at, TTLMillis: 30_000}, 0, true},
		{"never taken", leaseRecord{}, 0, true},
	}
	for _, tt := range tests {
		if got := tt.l.isOver(at.Add(tt.now)); got != tt.want {
			t.Errorf("%s: over: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A file system that says that it has no locks, or that it lost the file, is
// named as the reason.
func TestErrorsOfNetworkFileSystems(t *testing.T) {
	s := &Store{path: "/net/history.db"}
	for _, err := range networkErrors {
		got := s.explain(err)
		if !errors.Is(got, err) || !strings.Contains(got.Error(), "keep the history on a disk of this machine") {
			t.Errorf("explain(%v): %v", err, got)
		}
	}
	if got := s.explain(aurora.ErrLeaseLost).Error(); strings.Contains(got, "disk") {
		t.Errorf("advice where there is none to give: %s", got)
	}
}

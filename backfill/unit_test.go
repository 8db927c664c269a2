package backfill

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgconn"
)

// The parts of a plan cover all keys, whatever their number, and borders that
// are forgotten change nothing about that.
func TestPlanParts(t *testing.T) {
	for _, rows := range []int{0, 1, 2, 249, 251, 4000, 600_000} {
		p := &plan{Step: 250}
		for from := 0; from < rows; {
			var found []border
			for range 100 {
				n := min(int(p.Step), rows-from)
				if n == 0 {
					break
				}
				from += n
				found = append(found, border{key: key{fmt.Sprint(from)}, rows: int64(n)})
			}
			p.add(found)
		}
		if p.Rows != int64(rows) || len(p.Borders) > maxBorders {
			t.Errorf("%d rows: counted %d, %d borders", rows, p.Rows, len(p.Borders))
		}
		parts := p.parts(16)
		var after key
		for _, part := range parts {
			if !cmp.Equal(part.After, after) || cmp.Equal(part.After, part.UpTo) {
				t.Errorf("%d rows: a part from %v to %v after %v", rows, part.After, part.UpTo, after)
			}
			after = part.UpTo
		}
		if rows > 0 && !cmp.Equal(after, key{fmt.Sprint(rows)}) || rows >= 4000 && len(parts) != 16 {
			t.Errorf("%d rows: %d parts, the last up to %v", rows, len(parts), after)
		}
	}
}

// However large a table is, the look for borders ends, no query reads more than
// a page, and the parts are of about the same size.
func TestPlanOfLargeTables(t *testing.T) {
	for _, rows := range []int64{1, 131_072_000, 131_072_001, 263_000_000, 1_000_000_000, 20_000_000_001} {
		p := &plan{Step: 250}
		var from int64
		for queries := int64(0); ; queries++ {
			size, limit := p.page()
			if size < 1 || limit < size || limit > planPage || queries > rows/(planPage/2)+1 {
				t.Fatalf("%d rows: query %d, from row %d, asks for borders %d rows apart within %d", rows, queries+1, from, size, limit)
			}
			var found []border
			for end := min(from+limit, rows); from < end; {
				n := min(size, end-from)
				from += n
				found = append(found, border{key: key{fmt.Sprint(from)}, rows: n})
			}
			if counted := p.add(found); counted < limit {
				break
			}
		}
		if p.Rows != rows || len(p.Borders) > maxBorders {
			t.Errorf("%d rows: counted %d, %d borders", rows, p.Rows, len(p.Borders))
		}
		parts := p.parts(16)
		var after int64
		for _, part := range parts {
			upTo, err := strconv.ParseInt(part.UpTo[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if n := upTo - after; rows > 1 && (n < rows/16*9/10 || n > rows/16*11/10) {
				t.Errorf("%d rows: part %d has %d", rows, part.number, n)
			}
			after = upTo
		}
		if after != rows || rows > 1 && len(parts) != 16 {
			t.Errorf("%d rows: %d parts, the last up to %d", rows, len(parts), after)
		}
	}
}

func TestItemKey(t *testing.T) {
	want := itemKey{
		"s": &types.AttributeValueMemberS{Value: "a\"é"}, "empty": &types.AttributeValueMemberB{Value: []byte{}},
		"n": &types.AttributeValueMemberN{Value: "-1.5e10"}, "b": &types.AttributeValueMemberB{Value: []byte{0, 255}},
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got itemKey
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(types.AttributeValueMemberS{}, types.AttributeValueMemberN{}, types.AttributeValueMemberB{})); diff != "" {
		t.Error(diff)
	}
}

func TestPacer(t *testing.T) {
	p := newPacer(100, false)
	now := time.Now()
	if d := p.reserve(50, now); d != 0 {
		t.Errorf("the first batch waits for %s", d)
	}
	if d := p.reserve(50, now.Add(100*time.Millisecond)); d < 300*time.Millisecond || d > 500*time.Millisecond {
		t.Errorf("the second waits for %s, want about 0.4 s", d)
	}
	if d := p.reserve(50, now.Add(time.Second)); d != 0 {
		t.Errorf("a second later it waits for %s", d)
	}
	if got := p.cap(1000, 4); got != 25 {
		t.Errorf("batches of %d, want a second's share", got)
	}

	if got := newPacer(1e300, false).cap(1000, 4); got != 1000 {
		t.Errorf("batches of %d at a rate that is none, want 1000", got)
	}
	for _, rate := range []float64{math.NaN(), math.Inf(1), -1} {
		if err := (&Options{PerSecond: rate}).check(); err == nil {
			t.Errorf("a rate of %v is taken", rate)
		}
	}

	p = newPacer(0, false)
	p.did(1000, p.window.Add(time.Second))
	p.complained(p.window.Add(time.Second))
	p.complained(p.window.Add(time.Second + time.Millisecond)) // of the same wave
	if got := p.rate(); got < 699 || got > 701 {
		t.Errorf("after a complaint %.0f rows a second, want 700", got)
	}
	for i := range 20 {
		p.did(300, p.window.Add(time.Second+time.Duration(i)))
	}
	if got := p.rate(); got != 0 {
		t.Errorf("long after it %.0f rows a second, want no limit", got)
	}
}

func TestSizer(t *testing.T) {
	s := newSizer(500, 2999, 250*time.Millisecond)
	for _, tt := range []struct {
		took time.Duration
		want int
	}{{10 * time.Millisecond, 1000}, {125 * time.Millisecond, 2000}, {time.Millisecond, 2999}, {500 * time.Millisecond, 1500}, {time.Minute, 750}} {
		if s.took(tt.took); s.size != tt.want {
			t.Errorf("after %s: %d rows, want %d", tt.took, s.size, tt.want)
		}
	}
	if s.tooMuch(700); s.size != 350 {
		t.Errorf("after one that was too large: %d rows", s.size)
	}
	if s.took(time.Millisecond); s.size != 386 {
		t.Errorf("and it grows to %d rows, want slowly", s.size)
	}
}

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want kind
	}{
		{&pgconn.PgError{Code: "40001"}, conflict}, {&pgconn.PgError{Code: "40P01"}, conflict},
		{&pgconn.PgError{Code: "57P01", Severity: "FATAL"}, lost}, {&pgconn.PgError{Code: "XX000", Severity: "FATAL"}, lost},
		{&connectError{errors.New("refused")}, lost}, {&connectError{&pgconn.PgError{Code: "28P01", Severity: "FATAL"}}, final},
		{&connectError{&pgconn.PgError{Code: "53300", Severity: "FATAL"}}, lost}, {errors.New("unexpected EOF"), lost},
		{&pgconn.PgError{Code: "23514"}, rowFault}, {&pgconn.PgError{Code: "22P02"}, rowFault}, {&pgconn.PgError{Code: "54000"}, rowFault},
		{&pgconn.PgError{Code: "P0001"}, rowFault}, {&pgconn.PgError{Code: "57014"}, rowFault},
		{&pgconn.PgError{Code: "42703"}, final}, {&pgconn.PgError{Code: "0A000"}, final}, {&guardError{&pgconn.PgError{Code: "22012"}}, moved},
	} {
		if got := kindOf(nil, tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
}

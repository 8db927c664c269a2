package filestore

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

// A record is a line of the file.
type record struct {
	Project string            `json:"project"`
	Lease   *leaseRecord      `json:"lease,omitempty"`
	Save    []json.RawMessage `json:"save,omitempty"` // revisions
}

// A leaseRecord is a project's lease.
type leaseRecord struct {
	Token     int64         `json:"token"`
	Held      bool          `json:"held"`
	Holder    aurora.Holder `json:"holder"`
	At        time.Time     `json:"at"` // when it was taken or last renewed
	TTLMillis int64         `json:"ttlMillis"`
}

func (l leaseRecord) ttl() time.Duration { return time.Duration(l.TTLMillis) * time.Millisecond }

// isOver reports whether the lease has ended by a clock that says now.
func (l leaseRecord) isOver(now time.Time) bool {
	age := now.Sub(l.At)
	return !l.Held || age >= l.ttl() || age < -l.ttl()
}

func (l leaseRecord) locked() *aurora.LockedError {
	return &aurora.LockedError{Holder: l.Holder, Token: l.Token, ExpiresAt: l.At.Add(l.ttl())}
}

// The file's first line.
const (
	magic      = "aurora history 1 "
	headerSize = len(magic) + 16 + 1
)

func newHeader() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("%s%x\n", magic, b)
}

// frameHead is the size of what is before a record's JSON.
const frameHead = 27

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame returns the record as a line of the file.
func frame(r record) ([]byte, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the history: %w", err)
	}
	if int64(len(payload)) > 1<<32-1 {
		return nil, fmt.Errorf("encode the history: %d bytes at once are too many", len(payload))
	}
	return framed(payload), nil
}

func framed(payload []byte) []byte {
	b := fmt.Appendf(make([]byte, 0, frameHead+len(payload)+1), "%08x %08x ", len(payload), crc32.Checksum(payload, castagnoli))
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(b, castagnoli))
	return append(append(b, payload...), '\n')
}

// errTorn says that the file ends within a record.
var errTorn = errors.New("the file ends within a record")

// A damage says that the file is not what a store has written.
type damage struct {
	offset int64
	reason string
}

func (d *damage) Error() string { return fmt.Sprintf("damaged at byte %d: %s", d.offset, d.reason) }

// readFrame returns the JSON at an offset of a file of a size, and the size of
// its line. It returns [io.EOF] at the file's end, errTorn before a tail that
// was never finished, and a *damage.
func readFrame(f io.ReaderAt, offset, size int64) (payload []byte, line int64, err error) {
	if offset == size {
		return nil, 0, io.EOF
	}
	// A record of n bytes that is bad was never finished if the file ends
	// before it does, or has only zeros from within it: space that was given to
	// the file and not yet written.
	bad := func(n int64, reason string) error {
		end, err := lastByte(f, offset, size)
		if err != nil {
			return err
		}
		if end < offset+n {
			return errTorn
		}
		return &damage{offset, reason}
	}
	if size-offset < frameHead {
		return nil, 0, bad(frameHead, "")
	}
	var head [frameHead]byte
	if _, err := f.ReadAt(head[:], offset); err != nil {
		return nil, 0, fmt.Errorf("read: %w", err)
	}
	length, ok1 := hex(head[0:8])
	sum, ok2 := hex(head[9:17])
	own, ok3 := hex(head[18:26])
	if !ok1 || !ok2 || !ok3 || head[8] != ' ' || head[17] != ' ' || head[26] != ' ' || crc32.Checksum(head[:18], castagnoli) != own {
		return nil, 0, bad(frameHead, "this is not the beginning of a record")
	}
	line = frameHead + int64(length) + 1
	if size-offset < line {
		return nil, 0, bad(line, "")
	}
	b := make([]byte, length+1)
	if _, err := f.ReadAt(b, offset+frameHead); err != nil {
		return nil, 0, fmt.Errorf("read: %w", err)
	}
	payload = b[:length]
	if b[length] != '\n' || crc32.Checksum(payload, castagnoli) != sum {
		return nil, 0, bad(line, "the record does not have its checksum")
	}
	return payload, line, nil
}

// hex reads eight hexadecimal digits as frame writes them.
func hex(b []byte) (uint32, bool) {
	n, err := strconv.ParseUint(string(b), 16, 32)
	return uint32(n), err == nil && strings.ToLower(string(b)) == string(b)
}

// lastByte returns the offset behind the last byte that is not zero, offset if
// there is none.
func lastByte(f io.ReaderAt, offset, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > offset; {
		n := min(int64(len(buf)), end-offset)
		b := buf[:n]
		if _, err := f.ReadAt(b, end-n); err != nil {
			return 0, fmt.Errorf("read: %w", err)
		}
		for i := n; i > 0; i-- {
			if b[i-1] != 0 {
				return end - n + i, nil
			}
		}
		end -= n
	}
	return offset, nil
}

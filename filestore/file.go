package filestore

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora/internal/filelock"
)

// wasteful is the least size at which the file is written anew, in bytes.
const wasteful = 1 << 20

// attempts bounds how often a reader looks again at what seems damaged: a
// writer may have cut off a tail and appended while it was reading.
const attempts = 3

// A FileError says what is wrong with the file, and what to do.
type FileError struct {
	Path string
	Err  error
	hint string
}

// Error names the file.
func (e *FileError) Error() string {
	return fmt.Sprintf("history file %s: %v%s", e.Path, e.Err, e.hint)
}

// Unwrap returns what is wrong.
func (e *FileError) Unwrap() error { return e.Err }

// explain adds the file, and advice, to an error.
func (s *Store) explain(err error) error {
	var file *FileError
	if err == nil || errors.As(err, &file) {
		return err
	}
	e := &FileError{Path: s.path, Err: err}
	// The path is already there.
	var path *fs.PathError
	if errors.As(err, &path) && path.Path == s.path {
		e.Err = fmt.Errorf("%s: %w", path.Op, path.Err)
	}
	var bad *damage
	switch {
	case errors.As(err, &bad):
		e.hint = ". Nothing was changed. Keep a copy, then put a backup in its place"
	case filelock.IsUnsupported(err):
		e.hint = ". Its file system has no locks, as some of a network: keep the history on a disk of this machine"
	case filelock.IsStale(err):
		e.hint = ". The file system of a network lost it: keep the history on a disk of this machine"
	}
	return e
}

// read brings the state up to date and calls use with the open file and its
// project. Where there is no file, f is nil and the project empty.
func (s *Store) read(ctx context.Context, use func(f *loader, p *project) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for try := 1; ; try++ {
		err := s.readOnce(use)
		var bad *damage
		if !errors.As(err, &bad) || try == attempts {
			return s.explain(err)
		}
		s.state = newState("")
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(try) * time.Millisecond):
		}
	}
}

func (s *Store) readOnce(use func(f *loader, p *project) error) error {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.state = newState("")
		return use(nil, s.state.project(s.project))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := s.catchUp(f)
	if err != nil && !errors.Is(err, errTorn) {
		return err
	}
	return use(&loader{f: f, size: size}, s.state.project(s.project))
}

// catchUp brings the state up to what the file says and returns its size. It
// returns errTorn when a tail follows that was never finished.
func (s *Store) catchUp(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("it is not a file")
	}
	size := info.Size()
	head := make([]byte, min(int64(headerSize), size))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read: %w", err)
	}
	header := string(head)
	if len(header) != headerSize || !strings.HasPrefix(header, magic) || !strings.HasSuffix(header, "\n") {
		return size, s.catchUpNoHeader(f, header, size)
	}
	if header != s.state.header || size < s.state.offset {
		s.state = newState(header)
	}
	err = s.state.advance(f, size)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return size, err
}

// catchUpNoHeader is catchUp for a file that does not begin as it should: it is
// empty, was being created, or is something else.
func (s *Store) catchUpNoHeader(f *os.File, header string, size int64) error {
	end, err := lastByte(f, 0, size)
	if err != nil {
		return err
	}
	written := header[:min(int64(len(header)), end)]
	switch {
	case end < int64(headerSize) && strings.HasPrefix(magic, written[:min(len(written), len(magic))]):
		s.state = newState("")
		if size == 0 {
			return nil
		}
		return errTorn
	case strings.HasPrefix(header, strings.TrimSuffix(magic, "1 ")):
		return errors.New("another version of aurora wrote it, or it is damaged; nothing was changed")
	}
	return errors.New("it is not a history of aurora; nothing was changed")
}

// write calls change with the project as it is while nobody else writes, and
// appends the record that it returns, if any.
func (s *Store) write(ctx context.Context, durable bool, change func(p *project) (*record, error)) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return s.explain(err)
	}
	lock, err := filelock.Open(ctx, s.path+".lock", 0o644)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.explain(err)
	}
	defer func() { err = errors.Join(err, s.explain(lock.Close())) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeLocked(durable, change); err != nil {
		return err
	}
	if st := s.state; st.offset > wasteful && st.live < st.offset/2 {
		if err := s.compact(); err != nil {
			s.log.Warn("could not write the history's file anew; it stays larger than it need be", "file", s.path, "err", err)
		}
	}
	return nil
}

func (s *Store) writeLocked(durable bool, change func(p *project) (*record, error)) (err error) {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return s.explain(err)
	}
	defer func() { err = errors.Join(err, s.explain(f.Close())) }()
	size, err := s.catchUp(f)
	if err != nil && !errors.Is(err, errTorn) {
		return s.explain(err)
	}
	r, err := change(s.state.project(s.project))
	if err != nil || r == nil {
		return err
	}
	payload, err := frame(*r)
	if err != nil {
		return err
	}
	if size > s.state.offset {
		s.log.Warn("cut off what a process did not finish writing", "file", s.path, "bytes", size-s.state.offset)
		if err := f.Truncate(s.state.offset); err != nil {
			return s.explain(err)
		}
	}
	text := payload
	isNew := s.state.header == ""
	if isNew {
		s.state = newState(newHeader())
		text = append([]byte(s.state.header), payload...)
		s.state.offset = 0
	}
	if err := s.appendTo(f, text, durable, isNew); err != nil {
		// What is half there must not be taken for more.
		err = errors.Join(err, f.Truncate(s.state.offset))
		if isNew {
			s.state = newState("")
		}
		return s.explain(err)
	}
	if isNew {
		s.state.offset = int64(headerSize)
	}
	return s.explain(s.state.apply(payload[frameHead:len(payload)-1], int64(len(payload))))
}

// appendTo writes at the end of the state.
func (s *Store) appendTo(f *os.File, text []byte, durable, isNew bool) error {
	if _, err := f.WriteAt(text, s.state.offset); err != nil {
		return err
	}
	if durable {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	// The file begins with a lease, which need not last; the file's name has to,
	// for what is saved later.
	if isNew {
		return syncDir(filepath.Dir(s.path))
	}
	return nil
}

// compact writes the file anew with what counts. The lock is ours.
func (s *Store) compact() (err error) {
	old, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOnce(old)) }()
	info, err := old.Stat()
	if err != nil {
		return err
	}
	temp := s.path + ".tmp"
	defer os.Remove(temp) // after a rename there is none
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	err = s.copyLive(f, &loader{f: old, size: info.Size()})
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	// Windows replaces no file that is open.
	if err := closeOnce(old); err != nil {
		return err
	}
	if err := os.Rename(temp, s.path); err != nil {
		return err
	}
	s.state = newState("") // read again at the next look
	return syncDir(filepath.Dir(s.path))
}

// copyLive writes what counts of the state.
func (s *Store) copyLive(f io.Writer, from *loader) error {
	w := bufio.NewWriterSize(f, 256<<10)
	if _, err := w.WriteString(newHeader()); err != nil {
		return err
	}
	put := func(r record) error {
		b, err := frame(r)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	}
	for name, p := range s.state.projects {
		if err := put(record{Project: name, Lease: &p.lease}); err != nil {
			return err
		}
		for _, e := range p.entries() {
			raw, _, err := from.load(e)
			if err != nil {
				return err
			}
			if err := put(record{Project: name, Save: []json.RawMessage{raw}}); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

// closeOnce closes a file that may have been closed already.
func closeOnce(f *os.File) error {
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it does so by itself, and opens no directory
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

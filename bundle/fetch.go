package bundle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Why a program was not fetched. Errors of [Fetch] wrap one of them; none of
// them leaves a file behind.
var (
	ErrRequest     = errors.New("bad request")      // the URL, the digest or the limits are no such thing
	ErrNotFound    = errors.New("not found")        // there is no such object
	ErrDenied      = errors.New("access denied")    // the server does not let us in, or there are no credentials
	ErrUnavailable = errors.New("unavailable")      // the server cannot be reached, or fails
	ErrTimeout     = errors.New("time limit")       // it took too long, or nothing came for too long
	ErrTruncated   = errors.New("ended early")      // the connection ended before the object did
	ErrRedirect    = errors.New("redirect refused") // the server sent us where nothing protects the way
	ErrTooLarge    = errors.New("too large")        // the object is larger than the limit
	ErrDigest      = errors.New("another digest")   // these are not the bytes that were asked for
	ErrPlatform    = errors.New("another platform") // it is no program for this machine
	ErrDisk        = errors.New("cannot be stored") // the temporary directory does not take it
)

// The limits that zero values of [FetchOptions] stand for.
const (
	DefaultMaxSize = 256 << 20
	DefaultTimeout = 5 * time.Minute
	DefaultStall   = 30 * time.Second
)

// maxMaxSize is the largest limit that may be asked for, a tebibyte.
const maxMaxSize = 1 << 40

// FetchOptions say what to fetch.
type FetchOptions struct {
	// URL is s3://BUCKET/KEY or https://…; http:// only of this machine.
	URL string
	// SHA256 is the digest of the object, 64 hexadecimal digits.
	SHA256 string
	// Arch is the architecture that the program must be for, as Go names it.
	// Empty means this program's own.
	Arch string
	// MaxSize is the limit of the object's size in bytes, 1<<40 at most. Zero
	// means [DefaultMaxSize].
	MaxSize int64
	// Timeout limits the whole, attempts and pauses between them included, and
	// Stall the time without a single byte. Zero means [DefaultTimeout] and
	// [DefaultStall].
	Timeout, Stall time.Duration
	// Dir is the directory in which a private one is made. Empty means
	// [os.TempDir].
	Dir string
	// S3 gets objects from S3. Nil makes a client from the environment, as the
	// AWS SDK for Go documents it.
	S3 Getter

	pause time.Duration // before the second attempt; each further one is that much longer
}

// maxAttempts is how often an object is asked for whose server fails or hangs
// up.
const maxAttempts = 3

// Fetch downloads a program into a file that only this user can read, in a
// directory of its own, and returns the path. The file is there only if its
// digest is the one that was asked for and its header is that of a 64-bit Linux
// program for Arch. Bytes beyond the limit are not read. Errors wrap one of the
// sentinels above and name the URL without its query.
func Fetch(ctx context.Context, o FetchOptions) (path string, err error) {
	src, err := o.check()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("%w: not fetched within %s", ErrTimeout, o.Timeout))
	defer cancel()
	dir, err := os.MkdirTemp(o.Dir, "aurora-bundle-") // mode 0700
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrDisk, err)
	}
	path = filepath.Join(dir, "bundle")
	for attempt := 1; ; attempt++ {
		err = o.attempt(ctx, src, path)
		if err == nil {
			return path, nil
		}
		var temporary *temporaryError
		again := errors.As(err, &temporary) && attempt < maxAttempts
		if temporary != nil {
			err = temporary.err
		}
		if cause := context.Cause(ctx); cause != nil {
			err, again = cause, false
		}
		if !again {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(attempt) * o.pause):
		}
	}
	return "", errors.Join(fmt.Errorf("fetch %s: %w", src, err), os.RemoveAll(dir))
}

// A temporaryError may be none at the next attempt.
type temporaryError struct{ err error }

func (e *temporaryError) Error() string { return e.err.Error() }

// check fills in what was left open.
func (o *FetchOptions) check() (source, error) {
	src, err := parseSource(o.URL)
	if err != nil {
		return source{}, err
	}
	if _, err := checksum(o.SHA256); err != nil {
		return source{}, err
	}
	if o.MaxSize < 0 || o.Timeout < 0 || o.Stall < 0 {
		return source{}, fmt.Errorf("%w: a limit must not be negative", ErrRequest)
	}
	if o.MaxSize > maxMaxSize {
		return source{}, fmt.Errorf("%w: a limit of %d bytes; want %d at most", ErrRequest, o.MaxSize, int64(maxMaxSize))
	}
	o.SHA256 = strings.ToLower(o.SHA256)
	o.Arch = cmp.Or(o.Arch, runtime.GOARCH)
	o.MaxSize = cmp.Or(o.MaxSize, DefaultMaxSize)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Stall = cmp.Or(o.Stall, DefaultStall)
	o.pause = cmp.Or(o.pause, time.Second)
	return src, nil
}

// shorten keeps what may be anything out of messages.
func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// attempt downloads and checks the object once.
func (o *FetchOptions) attempt(ctx context.Context, src source, path string) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(o.Stall, func() {
		cancel(fmt.Errorf("%w: nothing came for %s", ErrTimeout, o.Stall))
	})
	defer stall.Stop()
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}()
	body, size, err := src.open(ctx, o.S3)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // Everything was read, or nothing counts.
	if size > o.MaxSize {
		return fmt.Errorf("%w: %d bytes, and the limit is %d", ErrTooLarge, size, o.MaxSize)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of the attempt before
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("%w: %w", ErrDisk, cerr)
		}
	}()
	sum := sha256.New()
	w := &diskWriter{w: f}
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(&stallReader{body, stall, o.Stall}, o.MaxSize+1))
	switch {
	case w.err != nil:
		return fmt.Errorf("%w: %w", ErrDisk, w.err)
	case err != nil:
		return &temporaryError{fmt.Errorf("%w after %d bytes: %w", ErrTruncated, n, err)}
	case n > o.MaxSize:
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, o.MaxSize)
	case size >= 0 && n != size:
		return &temporaryError{fmt.Errorf("%w: %d bytes of %d", ErrTruncated, n, size)}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != o.SHA256 {
		return fmt.Errorf("%w: the object's sha256 is %s, and %s was asked for", ErrDigest, got, o.SHA256)
	}
	if err := checkPlatform(f, o.Arch); err != nil {
		return err
	}
	if err := f.Chmod(0o700); err != nil { // whatever the umask is
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}

// A diskWriter remembers that it was the disk that failed.
type diskWriter struct {
	w   io.Writer
	err error
}

func (w *diskWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.err = cmp.Or(w.err, err)
	return n, err
}

// A stallReader puts a timer off whenever something comes.
type stallReader struct {
	r     io.Reader
	timer *time.Timer
	limit time.Duration
}

func (r *stallReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.timer.Reset(r.limit)
	}
	return n, err
}

// machines are the values of e_machine in an ELF header, by Go's names; see
// https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
var machines = map[string]byte{"amd64": 62, "arm64": 183}

// checkPlatform reads the header of a program.
func checkPlatform(r io.ReaderAt, arch string) error {
	want, ok := machines[arch]
	if !ok {
		return fmt.Errorf("%w: there are no bundles for %s", ErrPlatform, arch)
	}
	var h [20]byte
	if _, err := r.ReadAt(h[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	// Magic, 64 bits, least significant byte first.
	if string(h[:6]) != "\x7fELF\x02\x01" {
		return fmt.Errorf("%w: it is no 64-bit Linux program", ErrPlatform)
	}
	if h[18] == want && h[19] == 0 {
		return nil
	}
	for name, machine := range machines {
		if h[18] == machine && h[19] == 0 {
			return fmt.Errorf("%w: it is for %s, and this machine is %s", ErrPlatform, name, arch)
		}
	}
	return fmt.Errorf("%w: it is for machine %d, and this one is %s", ErrPlatform, int(h[19])<<8|int(h[18]), arch)
}

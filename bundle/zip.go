package bundle

import (
	"archive/zip"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// LambdaMain is the name that AWS Lambda's runtimes provided.al2023 and
// provided.al2 start; see
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-provided.html
const LambdaMain = "bootstrap"

// zipTime is the earliest time that a zip can hold.
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// A Zip is a package for AWS Lambda.
type Zip struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"` // Lambda shows the same one as CodeSha256, in base64
	Size   int64  `json:"size"`   // in bytes; Lambda takes 50 MB
}

// WriteZip packs a bundle for AWS Lambda, as the only file, with fixed times:
// the same bundle gives the same package. What is at the path is replaced. Where
// the file is no longer the bundle of the result, the error is [ErrDigest].
func WriteZip(res Result, path string) (z Zip, err error) {
	fail := func(err error) (Zip, error) { return Zip{}, fmt.Errorf("write the Lambda package: %w", err) }
	in, err := os.Open(res.Path)
	if err != nil {
		return fail(err)
	}
	defer in.Close() //nolint:errcheck // Nothing was written.
	out, err := os.CreateTemp(filepath.Dir(path), ".aurora-bundle-*")
	if err != nil {
		return fail(err)
	}
	err = errors.Join(writeZip(out, in, res.SHA256), out.Chmod(0o644), out.Close())
	if err == nil {
		z.Path = path
		z.SHA256, z.Size, err = digest(out.Name())
	}
	if err == nil {
		err = os.Rename(out.Name(), path)
	}
	if err != nil {
		return fail(errors.Join(err, os.Remove(out.Name())))
	}
	return z, nil
}

func writeZip(out io.Writer, in io.Reader, want string) error {
	w := zip.NewWriter(out)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	h := &zip.FileHeader{Name: LambdaMain, Method: zip.Deflate, Modified: zipTime}
	h.SetMode(0o755)
	f, err := w.CreateHeader(h)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), in); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%w: the sha256 of the bundle is now %s, and was %s", ErrDigest, got, want)
	}
	return w.Close()
}

package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A Putter puts objects into S3. An [*s3.Client] is one.
type Putter interface {
	PutObject(ctx context.Context, in *s3.PutObjectInput, opts ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

// An Uploaded is a bundle in S3.
type Uploaded struct {
	URL     string `json:"url"` // what aurora-runner takes
	Bucket  string `json:"bucket"`
	Key     string `json:"key"` // PREFIX/bundles/bundle-SHA256
	Existed bool   `json:"existed"`
}

// maxConflicts is how often an upload is tried while others upload the same.
const maxConflicts = 5

// Upload puts a bundle into S3, s3://BUCKET or s3://BUCKET/PREFIX, under a key
// that has its digest. An object that is there already is left alone, so the
// rights to read, list and delete are not needed; S3 checks the digest of what
// arrives. Nil means a client from the environment.
func Upload(ctx context.Context, client Putter, res Result, to string) (Uploaded, error) {
	u, err := Destination(to, res.SHA256)
	if err != nil {
		return u, err
	}
	sum, err := checksum(res.SHA256)
	if err != nil {
		return u, err
	}
	if client == nil {
		if client, err = newS3(ctx); err != nil {
			return u, fmt.Errorf("upload the bundle: %w", err)
		}
	}
	f, err := os.Open(res.Path)
	if err != nil {
		return u, fmt.Errorf("upload the bundle: %w", err)
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	for attempt := 1; ; attempt++ {
		if _, err := f.Seek(0, 0); err != nil {
			return u, fmt.Errorf("upload the bundle: %w", err)
		}
		_, err = client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: aws.String(u.Bucket), Key: aws.String(u.Key), Body: f, ContentLength: aws.Int64(res.Size),
			ContentType: aws.String("application/octet-stream"), IfNoneMatch: aws.String("*"),
			ChecksumSHA256: aws.String(sum),
		})
		var resp *smithyhttp.ResponseError
		switch {
		case err == nil:
			return u, nil
		case !errors.As(err, &resp):
		case resp.HTTPStatusCode() == http.StatusPreconditionFailed:
			u.Existed = true
			return u, nil
		// 409 says that somebody else writes the same key just now; see
		// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
		case resp.HTTPStatusCode() == http.StatusConflict && attempt < maxConflicts:
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(attempt) * 200 * time.Millisecond):
				continue
			}
		}
		return u, fmt.Errorf("upload the bundle to %s: %w", u.URL, err)
	}
}

// checksum is a digest as S3 writes it.
func checksum(digest string) (string, error) {
	b, err := hex.DecodeString(digest)
	if err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("%w: the digest %q is not 64 hexadecimal digits", ErrRequest, shorten(digest))
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

// Destination returns where [Upload] puts a bundle with that digest. Anything
// but s3://BUCKET and s3://BUCKET/PREFIX is an error.
func Destination(to, sum string) (Uploaded, error) {
	rest, ok := strings.CutPrefix(to, "s3://")
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || bucket == "" || strings.ContainsAny(rest, "?#") {
		return Uploaded{}, fmt.Errorf("%w: upload goes to s3://BUCKET or s3://BUCKET/PREFIX, not to %q", ErrRequest, shorten(to))
	}
	u := Uploaded{Bucket: bucket, Key: path.Join(strings.Trim(prefix, "/"), "bundles", "bundle-"+sum)}
	u.URL = "s3://" + u.Bucket + "/" + u.Key
	return u, nil
}

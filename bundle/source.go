package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A Getter gets objects from S3. An [*s3.Client] is one.
type Getter interface {
	GetObject(ctx context.Context, in *s3.GetObjectInput, opts ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// A source is where an object is.
type source struct {
	bucket, key string   // of S3
	url         *url.URL // of a web server
}

// String is the URL without what may be a secret in it.
func (s source) String() string {
	if s.url == nil {
		return "s3://" + s.bucket + "/" + s.key
	}
	return s.url.Scheme + "://" + s.url.Host + s.url.EscapedPath()
}

func parseSource(raw string) (source, error) {
	bad := func(format string, args ...any) (source, error) {
		return source{}, fmt.Errorf("%w: the URL of the bundle "+format, append([]any{ErrRequest}, args...)...)
	}
	if raw == "" {
		return bad("is empty")
	}
	if rest, ok := strings.CutPrefix(raw, "s3://"); ok {
		// A key is not escaped, so that this is no URL to net/url.
		bucket, key, _ := strings.Cut(rest, "/")
		if bucket == "" || key == "" || strings.ContainsAny(rest, "?#") {
			return bad("is not of the form s3://BUCKET/KEY")
		}
		return source{bucket: bucket, key: key}, nil
	}
	u, err := url.Parse(raw)
	if err != nil { // whose text repeats the URL
		return bad("cannot be read")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("has the scheme %q; want s3:// or https://", shorten(u.Scheme))
	case u.Host == "" || u.Path == "" || u.Path == "/":
		return bad("names no file")
	case !isProtected(u):
		return bad("has the scheme http, which is only for this machine; want s3:// or https://")
	}
	return source{url: u}, nil
}

// isProtected reports whether nobody on the way can read or change what is
// said.
func isProtected(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// open begins to read the object. The size is -1 where the server does not say.
func (s source) open(ctx context.Context, getter Getter) (io.ReadCloser, int64, error) {
	if s.url != nil {
		return s.openHTTP(ctx)
	}
	return s.openS3(ctx, getter)
}

const (
	connectLimit = 10 * time.Second
	maxRedirects = 5
)

// newHTTPClient never leaves a protected way, be it by a redirect or by a
// setting for the endpoint.
func newHTTPClient() *http.Client {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: connectLimit}).DialContext,
		TLSHandshakeTimeout: connectLimit,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // the digest is that of the object as it is
		DisableKeepAlives:   true,
	}
	return &http.Client{
		Transport: protected{transport},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			from := via[len(via)-1].URL
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("%w: more than %d of them", ErrRedirect, maxRedirects)
			case !isProtected(req.URL), from.Scheme == "https" && req.URL.Scheme != "https":
				return fmt.Errorf("%w: it leads to %s://%s", ErrRedirect, req.URL.Scheme, req.URL.Host)
			}
			return nil
		},
	}
}

type protected struct{ next http.RoundTripper }

func (p protected) RoundTrip(req *http.Request) (*http.Response, error) {
	if !isProtected(req.URL) {
		return nil, fmt.Errorf("%w: the endpoint %s://%s is not protected; want https://", ErrRequest, req.URL.Scheme, req.URL.Host)
	}
	return p.next.RoundTrip(req)
}

func (s source) openHTTP(ctx context.Context) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: the URL of the bundle cannot be used", ErrRequest)
	}
	resp, err := newHTTPClient().Do(req)
	var ue *url.Error
	switch {
	case errors.Is(err, ErrRedirect) || errors.Is(err, ErrRequest):
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, 0, err
	case errors.As(err, &ue): // which repeats the URL, with its query
		return nil, 0, &temporaryError{fmt.Errorf("%w: %w", ErrUnavailable, ue.Err)}
	case err != nil:
		return nil, 0, &temporaryError{fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, 0, statusError(resp.StatusCode)
	}
	return resp.Body, resp.ContentLength, nil
}

// statusError says what a status other than 200 means.
func statusError(code int) error {
	text := fmt.Sprintf("the server answered %d %s", code, http.StatusText(code))
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w: %s", ErrNotFound, text)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w: %s", ErrDenied, text)
	case code == http.StatusTooManyRequests || code >= 500:
		return &temporaryError{fmt.Errorf("%w: %s", ErrUnavailable, text)}
	case code >= 300 && code < 400:
		return fmt.Errorf("%w: %s", ErrRedirect, text)
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, text)
}

func (s source) openS3(ctx context.Context, getter Getter) (io.ReadCloser, int64, error) {
	if getter == nil {
		client, err := newS3(ctx, func(o *s3.Options) {
			o.Retryer = aws.NopRetryer{} // Fetch itself tries again
			// Our digest is stricter, and its error is the one that says why.
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		})
		if err != nil {
			return nil, 0, err
		}
		getter = client
	}
	out, err := getter.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.key)})
	if err != nil {
		return nil, 0, s3Error(err)
	}
	size := int64(-1)
	if out.ContentLength != nil {
		size = *out.ContentLength
	}
	return out.Body, size, nil
}

// newS3 makes a client as the environment says.
func newS3(ctx context.Context, more ...func(*s3.Options)) (*s3.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: read the AWS configuration: %w", ErrRequest, err)
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("%w: no AWS region; set AWS_REGION to that of the bucket", ErrRequest)
	}
	return s3.NewFromConfig(cfg, append(more, func(o *s3.Options) { o.HTTPClient = newHTTPClient() })...), nil
}

// s3Error says which of our reasons an error of S3 is.
func s3Error(err error) error {
	var (
		key    *types.NoSuchKey
		resp   *smithyhttp.ResponseError
		api    interface{ ErrorCode() string }
		status int
		code   string
	)
	if errors.As(err, &resp) {
		status = resp.HTTPStatusCode()
	}
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	switch {
	case errors.Is(err, ErrRequest) || errors.Is(err, ErrRedirect):
		return err
	case errors.As(err, &key) || code == "NoSuchBucket" || status == http.StatusNotFound:
		return fmt.Errorf("%w: S3 answers %s", ErrNotFound, code)
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
		return fmt.Errorf("%w: S3 answers %s, as it also does of an object that is not there to those who may not list the bucket", ErrDenied, code)
	case status == http.StatusMovedPermanently || code == "AuthorizationHeaderMalformed":
		return fmt.Errorf("%w: the bucket is in another region; set AWS_REGION to its own", ErrRequest)
	case status == http.StatusTooManyRequests || status >= 500:
		return &temporaryError{fmt.Errorf("%w: S3 answers %d %s", ErrUnavailable, status, code)}
	case status != 0:
		return fmt.Errorf("%w: S3 answers %d %s", ErrUnavailable, status, code)
	case strings.Contains(err.Error(), "failed to retrieve credentials") || strings.Contains(err.Error(), "get identity"):
		return fmt.Errorf("%w: there are no AWS credentials: %w", ErrDenied, err)
	}
	return &temporaryError{fmt.Errorf("%w: %w", ErrUnavailable, err)}
}

package dynamotest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Kind says how a request fails.
type Kind string

// The ways in which requests fail.
const (
	// Throttling and Exceeded are what AWS answers to those who ask too much
	// of an on-demand or a provisioned table.
	Throttling Kind = "ThrottlingException"
	Exceeded   Kind = "ProvisionedThroughputExceededException"
	// Conflict is what AWS answers while another transaction has the item: a
	// cancelled transaction with that reason, or an error of that name.
	Conflict Kind = "TransactionConflict"
	// DropBefore closes the connection without asking the table, DropAfter when
	// the table has done what was asked.
	DropBefore Kind = "drop before"
	DropAfter  Kind = "drop after"
	// Expired and Denied are what AWS answers to old credentials and to those
	// that lack a right.
	Expired Kind = "ExpiredTokenException"
	Denied  Kind = "AccessDeniedException"
	// Delay holds the request back for a while, then asks the table.
	Delay Kind = "delay"
	// Late answers that the request timed out, and hands it to the table only
	// when [Proxy.Deliver] is called.
	Late Kind = "late"
)

// A Fault makes requests fail.
type Fault struct {
	Op    string // like "UpdateItem"; "" means all
	Kind  Kind
	Skip  int           // so many go through first
	Times int           // so many fail; 0 means 1, negative all
	Delay time.Duration // for Delay
}

// A Proxy stands between a client and the stand-in.
type Proxy struct {
	// URL leads through the proxy.
	URL string

	upstream *httputil.ReverseProxy
	base     string

	mu     sync.Mutex
	counts map[string]int
	faults []*Fault
	late   []*http.Request
	clock  func() time.Time
}

// NewProxy starts a proxy in front of the stand-in. It ends with the test.
func NewProxy(t testing.TB) *Proxy {
	t.Helper()
	base := Endpoint(t)
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{base: base, counts: make(map[string]int)}
	p.upstream = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.clock == nil {
				return nil
			}
			r.Header.Del("Date")
			if now := p.clock(); !now.IsZero() {
				r.Header.Set("Date", now.UTC().Format(http.TimeFormat))
			}
			return nil
		},
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Fail adds a fault. Faults apply in the order in which they were added, one
// to a request.
func (p *Proxy) Fail(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &f)
}

// Heal removes all faults.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// Clock sets the clock of the server that clients see in its answers; nil
// brings the true one back. The zero time means that answers have none.
func (p *Proxy) Clock(now func() time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock = now
}

// Counts returns how many requests of each operation came, and forgets them.
func (p *Proxy) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.counts
	p.counts = make(map[string]int)
	return counts
}

// Deliver hands the requests that are late to the table, in order, and returns
// their HTTP status codes.
func (p *Proxy) Deliver(t testing.TB) []int {
	t.Helper()
	p.mu.Lock()
	late := p.late
	p.late = nil
	p.mu.Unlock()
	var codes []int
	for _, req := range late {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatalf("deliver a late request: %v", err)
		}
		codes = append(codes, resp.StatusCode)
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return codes
}

// ServeHTTP counts the request, and fails it or passes it on.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.Header()["Date"] = nil // or net/http adds its own
	switch f := p.next(op); f.Kind {
	case "":
		p.upstream.ServeHTTP(w, r)
	case Delay:
		select {
		case <-time.After(f.Delay):
			p.upstream.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	case DropBefore:
		panic(http.ErrAbortHandler)
	case DropAfter:
		p.upstream.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case Late:
		p.keep(r, body)
		answer(w, http.StatusInternalServerError, "InternalServerError", "it took too long", nil)
	case Conflict:
		if op != "TransactWriteItems" {
			answer(w, http.StatusBadRequest, "TransactionConflictException", "Transaction is ongoing for the item", nil)
			return
		}
		answer(w, http.StatusBadRequest, "TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons", reasons(body))
	case Denied:
		answer(w, http.StatusBadRequest, string(f.Kind), "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: dynamodb:"+right(op, body)+
			" on resource: arn:aws:dynamodb:us-east-1:123456789012:table/t because no identity-based policy allows the dynamodb:"+right(op, body)+" action", nil)
	default:
		answer(w, http.StatusBadRequest, string(f.Kind), "injected", nil)
	}
}

// next counts a request and returns the fault that hits it, if any.
func (p *Proxy) next(op string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[op]++
	for _, f := range p.faults {
		switch {
		case f.Op != "" && f.Op != op || f.Times == 0:
			continue
		case f.Skip > 0:
			f.Skip--
			return Fault{}
		case f.Times > 0:
			f.Times--
		}
		return *f
	}
	return Fault{}
}

// keep remembers a request for Deliver.
func (p *Proxy) keep(r *http.Request, body []byte) {
	req, err := http.NewRequest(r.Method, p.base+"/", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header = r.Header.Clone()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = append(p.late, req)
}

// reasons returns cancellation reasons for a transaction whose first item is
// another's.
func reasons(body []byte) []map[string]string {
	var in struct{ TransactItems []json.RawMessage }
	if err := json.Unmarshal(body, &in); err != nil {
		panic(err)
	}
	out := make([]map[string]string, len(in.TransactItems))
	for i := range out {
		out[i] = map[string]string{"Code": "None"}
	}
	out[0] = map[string]string{"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}
	return out
}

// right is the action that a request needs. A transaction needs those of its
// parts (docs.aws.amazon.com, "IAM policies to use with DynamoDB transactions").
func right(op string, body []byte) string {
	if op == "TransactWriteItems" && bytes.Contains(body, []byte(`"Put"`)) {
		return "PutItem"
	}
	return op
}

func answer(w http.ResponseWriter, status int, code, message string, reasons []map[string]string) {
	b, err := json.Marshal(struct {
		Type    string              `json:"__type"`
		Message string              `json:"message"`
		Reasons []map[string]string `json:"CancellationReasons,omitempty"`
	}{"com.amazonaws.dynamodb.v20120810#" + code, message, reasons})
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that went away is no concern
}

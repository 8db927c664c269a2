package locallambda

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A lineage is the tracing header by which Lambda knows that a function was led
// to invoke itself: the SDKs send the one of the invocation they run in with
// every request.
type lineage struct {
	root     string
	function string // a hash
	count    int    // invocations of the function so far, with the next
}

// trace reads the header of a request, and counts the invocation that it leads
// to. Without one a new chain begins.
func trace(cfg Config, header http.Header) lineage {
	sum := sha256.Sum256([]byte(cfg.arn("")))
	t := lineage{function: hex.EncodeToString(sum[:4]), count: 1}
	raw := header.Get("X-Amzn-Trace-Id")
	if plain, err := url.PathUnescape(raw); err == nil {
		raw = plain // the SDKs escape it
	}
	for part := range strings.SplitSeq(raw, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "Root":
			t.root = value
		case "Lineage":
			// version:function:count
			fields := strings.Split(value, ":")
			if len(fields) == 3 && fields[1] == t.function {
				if n, err := strconv.Atoi(fields[2]); err == nil && n > 0 {
					t.count = n + 1
				}
			}
		}
	}
	if t.root == "" {
		t.root = fmt.Sprintf("1-%08x-%s", time.Now().Unix(), hexadecimal(12))
	}
	return t
}

func (t lineage) String() string {
	return fmt.Sprintf("Root=%s;Parent=%s;Sampled=0;Lineage=1:%s:%d", t.root, hexadecimal(8), t.function, t.count)
}

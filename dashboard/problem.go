package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

// A problem is an error as RFC 9457 writes it, with a code for programs.
type problem struct {
	status int
	code   string
	detail string
	hint   string
	more   map[string]any
}

func problemf(status int, code, format string, args ...any) *problem {
	return &problem{status: status, code: code, detail: fmt.Sprintf(format, args...)}
}

func (p *problem) Error() string { return p.detail }

func (p *problem) with(key string, value any) *problem {
	if p.more == nil {
		p.more = make(map[string]any)
	}
	p.more[key] = value
	return p
}

// MarshalJSON writes the members of RFC 9457 and those of the code.
func (p *problem) MarshalJSON() ([]byte, error) {
	out := map[string]any{
		"type": "about:blank", "title": http.StatusText(p.status), "status": p.status, "code": p.code, "detail": p.detail,
	}
	if p.hint != "" {
		out["hint"] = p.hint
	}
	for k, v := range p.more {
		out[k] = v
	}
	return json.Marshal(out)
}

// problemMethod says which methods there are.
func problemMethod(w http.ResponseWriter, methods map[string]handle) *problem {
	var names []string
	for m := range methods {
		names = append(names, m)
	}
	slices.Sort(names)
	w.Header().Set("Allow", strings.Join(names, ", "))
	return problemf(http.StatusMethodNotAllowed, "method_not_allowed", "This takes only %s.", strings.Join(names, ", "))
}

// fail answers with an error, if there is one.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		return
	}
	p := s.problemOf(r.Context(), err)
	if p == nil {
		return // whoever asked is gone
	}
	body, merr := json.Marshal(p)
	if merr != nil {
		s.log.Error("encode a problem", "err", merr)
		body = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal","detail":""}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Del("ETag")
	if p.status != http.StatusMethodNotAllowed {
		h.Del("Allow")
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(body) // whoever hung up does not want it
}

// problemOf turns errors of the store and of planning into problems.
func (s *server) problemOf(ctx context.Context, err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		p.detail, p.hint = s.hide(p.detail), s.hide(p.hint)
		return p
	}
	if p := s.planProblem(err); p != nil {
		return p
	}
	switch {
	case errors.Is(err, aurora.ErrNotFound):
		return problemf(http.StatusNotFound, "not_found", "%s", s.hide(err.Error()))
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return nil
	}
	s.log.Warn("the history could not be read", "err", s.hide(err.Error()))
	p = problemf(http.StatusServiceUnavailable, "store_unavailable", "%s", s.hide(err.Error()))
	var advice interface{ Hint() string }
	if errors.As(err, &advice) {
		p.hint = s.hide(advice.Hint())
	}
	return p
}

// planProblem says why a request cannot be met as it is, or returns nil.
func (s *server) planProblem(err error) *problem {
	var (
		changed      *aurora.ChangedError
		late         *aurora.OutOfOrderError
		irreversible *aurora.IrreversibleError
		locked       *aurora.LockedError
		unsure       *aurora.UnsureError
		request      *aurora.RequestError
		moved        *aurora.MovedError
	)
	conflict := func(code string) *problem {
		return problemf(http.StatusConflict, code, "%s", s.hide(err.Error()))
	}
	switch {
	case errors.As(err, &changed) && changed.Migration != "":
		return conflict("changed").with("migration", changed.Migration)
	case errors.As(err, &changed):
		return conflict("changed").with("edited", list(changed.Edited)).with("missing", list(changed.Missing)).with("ahead", list(changed.Ahead))
	case errors.As(err, &late):
		return conflict("out_of_order").with("late", list(late.Late))
	case errors.As(err, &irreversible):
		return conflict("irreversible").with("migration", irreversible.Migration).with("reason", s.hide(irreversible.Reason))
	case errors.As(err, &moved):
		return conflict("head_moved").with("head", moved.Head)
	case errors.As(err, &unsure):
		return conflict("unsure").with("migration", unsure.Migration).with("statement", clip(s.hide(unsure.Step), maxStatement)).with("pos", unsure.Pos)
	case errors.As(err, &locked):
		return conflict("locked").with("lock", s.lockOf(locked))
	case errors.Is(err, ErrBusy):
		return conflict("busy")
	case errors.As(err, &request) && strings.Contains(request.Reason, "half "):
		return conflict("half_done")
	case errors.As(err, &request):
		return problemf(http.StatusBadRequest, "unknown_target", "%s", s.hide(err.Error()))
	}
	return nil
}

// maxBody is how long the body of a request may be, bodyTimeout how long it may
// take to come.
const (
	maxBody     = 64 << 10
	bodyTimeout = 15 * time.Second
)

// decode reads a JSON body.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return problemf(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be application/json.")
	}
	if r.ContentLength > maxBody {
		// Reading on would only feed whoever sends it.
		w.Header().Set("Connection", "close")
		return problemf(http.StatusRequestEntityTooLarge, "body_too_large", "The body is longer than %d bytes.", maxBody)
	}
	// Not every server can do this; those that cannot have limits of their own.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = conn.SetReadDeadline(time.Now().Add(answerTimeout))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return problemf(http.StatusRequestEntityTooLarge, "body_too_large", "The body is longer than %d bytes.", maxBody)
	}
	if err != nil {
		return problemf(http.StatusBadRequest, "bad_request", "The body could not be read.")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return problemf(http.StatusBadRequest, "bad_request", "The body is not what is expected here: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return problemf(http.StatusBadRequest, "bad_request", "There is more in the body than one JSON value.")
	}
	return nil
}

// reply writes v as JSON. Its encoder writes <, > and & as escapes, so that
// the text is harmless wherever it may end up.
func reply(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return problemf(http.StatusInternalServerError, "internal", "The answer could not be written: %v", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever hung up does not want it
	return nil
}

// list is never null in JSON.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

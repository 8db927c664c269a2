package lambdahandler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/aurora-migrate/aurora"
)

// DefaultMaxHops is how many invocations an execution may take. At the longest,
// 15 minutes each, that is a day.
const DefaultMaxHops = 100

// defaultLockTimeout is how long an invocation waits for the lease: longer than
// one lives on after its holder was killed.
const defaultLockTimeout = time.Minute

// idleLimit is how long a project stays open without being used. Lambda freezes
// the process between invocations, and connections die meanwhile.
const idleLimit = time.Minute

// Config says what to run and how. Only Open must be set.
type Config struct {
	// Open makes the project ready, once in the life of a process: for its
	// first event, again when it failed, and again after some time of idleness.
	Open func(ctx context.Context) (*Project, error)
	// Continue asks for the next invocation. Defaults to an asynchronous invoke
	// of this very function, by the version or alias that it was invoked as.
	Continue func(ctx context.Context, next Event) error
	// Margin is how long before the end of the invocation a run pauses, to save
	// and to hand over. Defaults to ten seconds or a twentieth of the
	// invocation's time, whichever is more, and never more than a third of it;
	// a margin given here is at most a half.
	Margin time.Duration
	// MaxHops is how many invocations an execution may take. Defaults to
	// [DefaultMaxHops]; an event may say otherwise.
	MaxHops int
	// ErrorText is what Lambda shows of an error, with [Start]. Defaults to the
	// error's own.
	ErrorText func(error) string
	// Logger defaults to JSON lines on standard error, which Lambda keeps.
	Logger *slog.Logger
}

// A Project is what Config.Open makes ready.
type Project struct {
	// Runner runs the migrations. Its store must be an [aurora.History] too.
	// The handler sets Holder and PauseBefore, and LockTimeout where it is 0; a
	// TTL of more than a third of the invocation's time it shortens to that, or
	// to a second.
	Runner aurora.Runner
	// Defaults count where an event leaves TxMode, ExecOrder or Baseline open.
	Defaults aurora.Request
	// Confirm is the name that an event must confirm to roll back everything,
	// or anything at all where Protected is true. An event may confirm by the
	// name of the Lambda function too. Empty means that nothing has to be.
	Confirm   string
	Protected bool
	// Check may refuse what an event asks for, before anything runs. It may be
	// nil.
	Check func(ctx context.Context, req aurora.Request) error
	// Close ends connections. It may be nil.
	Close func(ctx context.Context) error
}

// A Handler answers events. It implements the Handler interface of
// aws-lambda-go.
type Handler struct {
	cfg Config
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	project *Project
	users   int
	used    time.Time
	invoker func(ctx context.Context, next Event) error
}

// New returns a handler.
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg, log: cfg.Logger, now: time.Now}
	if h.log == nil {
		h.log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return h
}

// Start answers events until the process ends. It needs the Lambda runtime,
// and never returns. The type that Lambda shows of an error is the name of its
// Go type, such as LimitError or StepError.
func Start(cfg Config) { lambda.Start(named{New(cfg)}) }

// A named handler gives errors their names.
type named struct{ *Handler }

// Invoke returns and panics with what Lambda is to show.
func (n named) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		err, ok := v.(error)
		if !ok {
			err = fmt.Errorf("panic: %v", v)
		}
		// The runtime would show the panic's own text, which may have secrets.
		n.log.Error("the process ends", "stack", string(debug.Stack()))
		e := n.shown(err)
		e.ShouldExit = true
		panic(e)
	}()
	answer, err := n.Handler.Invoke(ctx, payload)
	if err != nil {
		return nil, n.shown(err)
	}
	return answer, nil
}

func (n named) shown(err error) messages.InvokeResponse_Error {
	text := n.cfg.ErrorText
	if text == nil {
		text = error.Error
	}
	return messages.InvokeResponse_Error{Message: text(err), Type: nameOf(err)}
}

// Invoke answers one event. The context's deadline is the invocation's. It
// panics with a [*StuckError] about a step that does not stop: the runtime
// reports a panic and ends the process, which is the only way to end the step.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	e, err := ParseEvent(payload)
	if err != nil {
		return nil, err
	}
	answer, err := h.answer(ctx, e)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

func (h *Handler) answer(ctx context.Context, e Event) (any, error) {
	p, err := h.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the project: %w", err)
	}
	defer h.done()
	e.TxMode, e.ExecOrder = cmp.Or(e.TxMode, p.Defaults.TxMode), cmp.Or(e.ExecOrder, p.Defaults.ExecOrder)
	e.Baseline = cmp.Or(e.Baseline, p.Defaults.Baseline)
	switch e.Command {
	case Status:
		return status(ctx, p, e)
	case List:
		return list(p)
	case Plan:
		return plan(ctx, p, e)
	}
	if err := p.confirmed(e); err != nil {
		return nil, err
	}
	return h.newHop(ctx, p, e).run(ctx)
}

// confirmed refuses to roll back what nobody has confirmed. Continuations
// confirm again.
func (p *Project) confirmed(e Event) error {
	if p.Confirm == "" || e.Direction != aurora.Down || !e.All && !p.Protected || e.Confirm == p.Confirm {
		return nil
	}
	if e.Confirm != "" && e.Confirm == lambdacontext.FunctionName {
		return nil
	}
	what := "rolling back everything"
	if p.Protected {
		what = "rolling back in a protected environment"
	}
	if e.Confirm == "" {
		return &EventError{fmt.Sprintf("%s needs a confirmation: if that is what you want, add \"confirm\": %q", what, p.Confirm)}
	}
	return &EventError{fmt.Sprintf("%s needs the confirmation %q, and %q is not that: nothing was rolled back", what, p.Confirm, e.Confirm)}
}

// open returns the project, opened if need be.
func (h *Handler) open(ctx context.Context) (*Project, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.project != nil && h.users == 0 && h.now().Sub(h.used) > idleLimit {
		old := h.project
		h.project = nil
		if old.Close != nil {
			if err := old.Close(ctx); err != nil {
				h.log.Debug("closing what was idle", "err", err)
			}
		}
	}
	if h.project == nil {
		p, err := h.cfg.Open(ctx)
		if err != nil {
			return nil, err
		}
		if p == nil || p.Runner.Store == nil {
			return nil, errors.New("there is no store to keep the history in")
		}
		if _, ok := p.Runner.Store.(aurora.History); !ok {
			return nil, fmt.Errorf("the store %T cannot look back into its history", p.Runner.Store)
		}
		h.project = p
	}
	h.users++
	return h.project, nil
}

func (h *Handler) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users--
	h.used = h.now()
}

// newHop prepares one invocation's part of an execution.
func (h *Handler) newHop(ctx context.Context, p *Project, e Event) *hop {
	now := h.now()
	request := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		request = lc.AwsRequestID
	}
	// Lambda delivers an event that failed again with the same request ID, so
	// that it is the same execution then.
	e.ExecutionID = cmp.Or(e.ExecutionID, request, aurora.NewExecutionID())
	hp := &hop{
		handler: h, event: e, project: p, history: p.Runner.Store.(aurora.History), me: holder(ctx, request),
		maxHops: cmp.Or(e.MaxHops, h.cfg.MaxHops, DefaultMaxHops),
		log:     h.log.With("executionId", e.ExecutionID, "hop", e.Hop, "requestId", request),
	}
	hp.me.By, hp.me.Reason = e.By, e.Reason
	if deadline, ok := ctx.Deadline(); ok {
		hp.clock = newClock(now, deadline, h.cfg.Margin)
		if h.cfg.Margin > hp.clock.limit/2 {
			hp.log.Warn("the margin is more than half of the invocation's time, and so only half of that is used",
				"margin", h.cfg.Margin.String(), "time", hp.clock.limit.String())
		}
	}
	return hp
}

// holder describes this invocation. Its link leads to the invocation's log, and
// tells it from all others.
func holder(ctx context.Context, request string) aurora.Holder {
	lc, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return aurora.CurrentHolder("lambda")
	}
	h := aurora.Holder{Host: lambdacontext.FunctionName + ":" + lambdacontext.FunctionVersion, Runtime: "lambda"}
	h.Link = logLink(lc.InvokedFunctionArn, lambdacontext.LogGroupName, request)
	return h
}

// consoles are the hosts of the AWS console, by partition.
var consoles = map[string]string{
	"aws": "console.aws.amazon.com", "aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com",
}

// logLink returns the console's page with the log of one request. The console
// wants values in its fragment escaped twice, with $ for the outer percent.
func logLink(arn, group, request string) string {
	parts := strings.Split(arn, ":")
	if len(parts) < 7 || request == "" {
		return ""
	}
	region := parts[3]
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(url.QueryEscape(s)), "%", "$") }
	return fmt.Sprintf("https://%s.%s/cloudwatch/home?region=%s#logsV2:log-groups/log-group/%s/log-events$3FfilterPattern$3D%s",
		region, cmp.Or(consoles[parts[1]], consoles["aws"]), region, escape(group), escape(`"`+request+`"`))
}

package aurora

import "context"

// A Starter asks for a run elsewhere: in a Lambda function, a Fargate task, or
// another goroutine of this process. It returns when the request was accepted,
// not when the run has ended. The caller sets [Request.ExecutionID], so it can
// look for the run in the history; the same identifier asked for twice is one
// run.
type Starter func(ctx context.Context, req Request) error

// Package lambdahandler runs migrations in AWS Lambda. An event is an
// [aurora.Request]; before the function's time is up the run pauses, and the
// function invokes itself to go on, until everything is done:
//
//	func main() {
//		lambdahandler.Start(lambdahandler.Config{Open: open})
//	}
//
// One execution is one chain of invocations, however often Lambda delivers or
// repeats an event. Three things see to that. Only the holder of the lease
// writes history. Every continuation names the lease under which the history
// was last written, and counts only while that is so. And an event that was
// cut short by a kill or an error is delivered again by Lambda with the same
// request ID, which the history has as the last writer's.
//
// [HTTP] is something else: it serves an [net/http.Handler] behind API Gateway
// or a function URL.
package lambdahandler

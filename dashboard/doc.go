// Package dashboard serves the web pages on which people look at migrations,
// read what happened, and roll back. [New] makes one handler of the pages, the
// JSON below api/ and the events; it serves on this machine, behind a reverse
// proxy, and behind API Gateway or a Lambda function URL alike.
//
// It only reads the history. What is to run it hands to an [aurora.Starter];
// without one it is read-only. [Local] is the starter that runs in the same
// process. The page docs/dashboard.md describes the API and what is refused.
package dashboard

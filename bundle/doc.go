// Package bundle makes one program of a project and takes it where it runs.
//
// [Build] compiles the Go migrations of a project, its .sql files and its
// project file into a static program for Linux, the same bytes for the same
// sources wherever it is built. [WriteZip] packs it for AWS Lambda, [Upload]
// puts it into S3 under the digest of its content, and [Fetch] gets it from
// there and refuses everything but those very bytes.
package bundle

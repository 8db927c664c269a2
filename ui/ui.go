// Package ui holds the pages of the dashboard as they are served. They are
// written in TypeScript below src; dist is what "npm run build" makes of them,
// the same bytes from the same sources, and is kept so that building aurora
// needs no Node.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files returns index.html and all that it asks for. Every address in them is
// relative, so they may be served under any path, and none names another host.
// What is below assets has a hash of its content in its name.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // only for an invalid path, and "dist" is none
	}
	return files
}

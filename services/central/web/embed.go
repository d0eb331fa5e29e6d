//go:build ui

// Package web holds the admin UI's built files.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var built embed.FS

// Files are the built files, index.html among them; nil without the build tag ui.
func Files() fs.FS {
	files, err := fs.Sub(built, "dist")
	if err != nil {
		return nil
	}
	return files
}

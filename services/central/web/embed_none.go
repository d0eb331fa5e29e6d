//go:build !ui

// Package web holds the admin UI's built files.
package web

import "io/fs"

// Files are the built files, index.html among them; nil without the build tag ui.
func Files() fs.FS { return nil }

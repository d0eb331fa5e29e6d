// Package db holds the SQL that makes and changes CloudOptim's database.
package db

import (
	"embed"
	"io/fs"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns goose's migration files, oldest first by name.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) //nolint:forbidigo // only a malformed path constant can cause this
	}
	return sub
}

// Bootstrap is the psql script which makes the database and its two roles on a fresh server.
//
//go:embed bootstrap.sql
var Bootstrap string

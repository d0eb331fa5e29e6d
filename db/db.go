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

// Row-level security lets a connection see the rows of one customer: the setting TenantSetting
// names it. Everyone is the value for every customer's; without a value it sees none.
const (
	TenantSetting = "cloudoptim.customer"
	Everyone      = "everyone"
)

// Bootstrap is the psql script which makes the database and its two roles on a fresh server.
//
//go:embed bootstrap.sql
var Bootstrap string

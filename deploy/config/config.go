// Package config carries the shipped configuration files, so that a binary runs alone.
package config

import "embed"

// Files are common.yaml and one file for each environment.
//
//go:embed common.yaml development.yaml staging.yaml production.yaml
var Files embed.FS

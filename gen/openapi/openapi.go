// Package openapi holds the generated OpenAPI descriptions, one for each server with REST paths.
package openapi

import _ "embed"

// Central describes central's REST paths.
//
//go:embed central/central.swagger.json
var Central []byte

// ML describes ml's REST paths.
//
//go:embed ml/ml.swagger.json
var ML []byte

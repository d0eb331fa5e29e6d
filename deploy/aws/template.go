// Package aws carries the CloudFormation template, so that central can show it.
package aws

import _ "embed"

// Customer is the template of what a customer's account needs.
//
//go:embed customer.yaml
var Customer string

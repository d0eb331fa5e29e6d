package rpc

import (
	"errors"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Validate checks a message against the rules of its proto; the error names
// field and constraint.
func Validate(msg proto.Message) error {
	return violation(protovalidate.Validate(msg), "")
}

// violation says the first broken rule in the words of the documented body.
// Where REST takes one field as the body, callers never see that field's name,
// so it is cut off.
func violation(err error, body string) error {
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) || len(invalid.Violations) == 0 {
		return err
	}
	first := invalid.Violations[0]
	field := protovalidate.FieldPathString(first.Proto.GetField())
	if body != "" {
		field = strings.TrimPrefix(strings.TrimPrefix(field, body), ".")
	}
	if field == "" {
		field = "body"
	}
	return fault.Invalid(field, constraint(first)).Because(err)
}

func constraint(v *protovalidate.Violation) string {
	if v.Proto.GetRuleId() == "string.uuid" || v.Proto.GetRuleId() == "string.uuid_empty" {
		return "must be valid UUID" // the guide's own words
	}
	return strings.TrimPrefix(v.Proto.GetMessage(), "value ")
}

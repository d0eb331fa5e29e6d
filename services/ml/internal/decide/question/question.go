// Package question reads the Structs of a request strictly into messages: an
// unknown key or a wrong type is the caller's mistake and is named, never ignored.
package question

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Read the Struct named name into a message. Field by field, since protojson does
// not say which field an error is about.
func Read(name string, from *structpb.Struct, into proto.Message) error {
	fields := into.ProtoReflect().Descriptor().Fields()
	for _, key := range slices.Sorted(maps.Keys(from.GetFields())) {
		value := from.GetFields()[key]
		if fields.ByName(protoName(key)) == nil {
			return fault.Invalid(name+"."+key, "is not a known field")
		}
		if _, null := value.GetKind().(*structpb.Value_NullValue); null {
			continue
		}
		text, err := protojson.Marshal(&structpb.Struct{Fields: map[string]*structpb.Value{key: value}})
		if err != nil {
			return fault.Invalid(name+"."+key, "must be a JSON value").Because(err)
		}
		one := into.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(text, one); err != nil || stringified(fields.ByName(protoName(key)), value) {
			return fault.Invalid(name+"."+key, "must be "+kindName(fields.ByName(protoName(key)))).Because(err)
		}
		proto.Merge(into, one)
	}
	return violation(name, protovalidate.Validate(into))
}

func violation(name string, err error) error {
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) || len(invalid.Violations) == 0 {
		return fmt.Errorf("validating %s: %w", name, err)
	}
	first := invalid.Violations[0].Proto
	field := name + "." + protovalidate.FieldPathString(first.GetField())
	return fault.Invalid(field, strings.TrimPrefix(first.GetMessage(), "value ")).Because(err)
}

// Or the fallback, where an optional number was not given.
func Or[T any](value *T, fallback T) T {
	if value == nil {
		return fallback
	}
	return *value
}

// Patterns are instance types by name or by family with a star, by the field of
// the constraints that they stand in.
type Patterns struct {
	// Field of the constraints.
	Field string
	// Given by the caller.
	Given []string
}

// CheckPatterns refuses what path.Match cannot read.
func CheckPatterns(lists ...Patterns) error {
	for _, list := range lists {
		for i, pattern := range list.Given {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				return fault.Invalid(fmt.Sprintf("constraints.%s[%d]", list.Field, i), "must be a type or a family with a star, such as m5.*")
			}
		}
	}
	return nil
}

// CheckExist refuses types and zones of which nothing is known: a slip of the
// pen should not look like a lack of savings.
func CheckExist(region string, types, zones []string, prices *market.Snapshot) error {
	known := prices.Types(region)
	for i, pattern := range types {
		if !slices.ContainsFunc(known, func(name string) bool { ok, err := path.Match(pattern, name); return ok && err == nil }) {
			return fault.Infeasible("instance_types", "No instance type of %s matches %q", region, pattern).
				With("field", fmt.Sprintf("constraints.instance_types[%d]", i))
		}
	}
	if len(zones) > 0 && len(prices.Offers(region, zones)) == 0 {
		return fault.Infeasible("zones", "Nothing is known to be offered in the zones %v of %s", zones, region).With("field", "constraints.zones")
	}
	return nil
}

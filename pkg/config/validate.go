package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Error says what is wrong with one setting. Value is empty for secrets.
type Error struct {
	Key        string
	Value      string
	Origin     string
	Constraint string
}

func (e *Error) Error() string {
	text := e.Key
	if e.Value != "" {
		text += ": " + e.Value
	}
	if e.Origin != "" {
		text += " (" + e.Origin + ")"
	}
	return text + " " + e.Constraint
}

// Invalid is for a server's Validate() error method, which Load calls when the settings' struct has
// one: it names the key and what must hold ("must be less than …"); Load adds value and origin.
func Invalid(key, constraint string, args ...any) error {
	return &Error{Key: key, Constraint: fmt.Sprintf(constraint, args...)}
}

// problem describes a field without its value, which may be unfit to show.
func (l *loader) problem(f field, constraint string) *Error {
	return &Error{Key: f.key, Origin: l.origin(f.key), Constraint: constraint}
}

// validate checks every field's rules and then the struct as a whole.
func (l *loader) validate(dst any) error {
	var problems []error
	for _, field := range l.schema.fields {
		if l.unread[field.key] {
			continue // reported already, and its value is not the user's
		}
		constraint, err := breaks(field)
		if err != nil {
			return fmt.Errorf("checking %s: %w", field.key, err)
		}
		if constraint != "" {
			problem := l.problem(field, constraint)
			if !field.secret {
				problem.Value = field.show()
			}
			problems = append(problems, problem)
		}
	}
	if whole, ok := dst.(interface{ Validate() error }); ok {
		problems = append(problems, l.complete(whole.Validate()))
	}
	return errors.Join(problems...)
}

// complete adds value and origin to the errors that Validate made with Invalid.
func (l *loader) complete(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, part := range joined.Unwrap() {
			_ = l.complete(part)
		}
		return err
	}
	var problem *Error
	if !errors.As(err, &problem) {
		return err
	}
	if field, known := l.schema.byKey[problem.Key]; known {
		problem.Origin = l.origin(problem.Key)
		if !field.secret {
			problem.Value = field.show()
		}
	}
	return err
}

// breaks returns the first rule that the field does not keep, in words.
func breaks(f field) (string, error) {
	for rule := range strings.SplitSeq(f.rules, ",") {
		name, bound, _ := strings.Cut(rule, "=")
		switch name {
		case "":
		case "nonempty":
			if f.value.IsZero() {
				return "must not be empty", nil
			}
		case "oneof":
			if words := strings.Split(bound, "|"); !slices.Contains(words, fmt.Sprint(f.value.Interface())) {
				return "must be one of " + strings.Join(words, ", "), nil
			}
		case "min", "max":
			constraint, err := outside(f.value, name, bound)
			if constraint != "" || err != nil {
				return constraint, err
			}
		default:
			return "", fmt.Errorf("unknown rule %q", rule)
		}
	}
	return "", nil
}

// outside compares a number or duration with a bound.
func outside(value reflect.Value, rule, bound string) (string, error) {
	limit, err := strconv.ParseFloat(bound, 64)
	if value.Type() == durationType {
		var duration time.Duration
		duration, err = time.ParseDuration(bound)
		limit = float64(duration)
	}
	if err != nil {
		return "", fmt.Errorf("reading the rule's bound: %w", err)
	}
	var number float64
	switch {
	case value.CanInt():
		number = float64(value.Int())
	case value.CanUint():
		number = float64(value.Uint())
	case value.CanFloat():
		number = value.Float()
	default:
		return "", fmt.Errorf("rule %s is not for %s", rule, value.Type())
	}
	switch {
	case rule == "min" && !(number >= limit): // written so that NaN fails
		return "must be at least " + bound, nil
	case rule == "max" && !(number <= limit):
		return "must be at most " + bound, nil
	}
	return "", nil
}

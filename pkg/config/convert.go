package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// convert puts a raw value into a field. Text comes from variables and flags and is parsed; values
// from files have types, which must fit: `port: true` is a mistake and not 1.
func convert(raw any, text bool, into reflect.Value) error {
	if raw == nil {
		into.SetZero()
		return nil
	}
	if word, isText := raw.(string); isText {
		switch {
		case into.Addr().Type().Implements(textType):
			return into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(word))
		case into.Type() == durationType:
			return parseDuration(word, into)
		case into.Kind() == reflect.String:
			into.SetString(word)
			return nil
		case text:
			return parse(word, into)
		}
	}
	return take(raw, into)
}

func parseDuration(word string, into reflect.Value) error {
	value, err := time.ParseDuration(word)
	if err != nil {
		return errors.New("must be a duration such as 30s or 5m")
	}
	into.SetInt(int64(value))
	return nil
}

// parse reads text into a field of a type other than string.
func parse(word string, into reflect.Value) error {
	switch into.Kind() {
	case reflect.Bool:
		value, err := strconv.ParseBool(word)
		if err != nil {
			return errors.New("must be true or false")
		}
		into.SetBool(value)
		return nil
	case reflect.Slice:
		return parseList(word, into)
	case reflect.Map:
		return parseMap(word, into)
	case reflect.Float32, reflect.Float64:
		value, err := strconv.ParseFloat(word, into.Type().Bits())
		if err != nil {
			return errors.New("must be a number")
		}
		into.SetFloat(value)
		return nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		value, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return errors.New("must be a whole number")
		}
		return takeInt(value, into)
	default:
		return errors.New("can be set in a file only")
	}
}

// parseList reads a,b,c; the empty text is the empty list.
func parseList(word string, into reflect.Value) error {
	list := reflect.MakeSlice(into.Type(), 0, 0)
	for part := range strings.SplitSeq(word, ",") {
		if word == "" {
			break
		}
		item := reflect.New(into.Type().Elem()).Elem()
		if err := convert(strings.TrimSpace(part), true, item); err != nil {
			return fmt.Errorf("must be a list such as a,b whose every item %w", err)
		}
		list = reflect.Append(list, item)
	}
	into.Set(list)
	return nil
}

// parseMap reads a=1,b=2; the empty text is the empty map.
func parseMap(word string, into reflect.Value) error {
	table := reflect.MakeMap(into.Type())
	for part := range strings.SplitSeq(word, ",") {
		if word == "" {
			break
		}
		name, text, ok := strings.Cut(part, "=")
		if !ok || into.Type().Key().Kind() != reflect.String {
			return errors.New("must be a list of pairs such as a=1,b=2")
		}
		item := reflect.New(into.Type().Elem()).Elem()
		if err := convert(strings.TrimSpace(text), true, item); err != nil {
			return fmt.Errorf("must be a list of pairs whose every value %w", err)
		}
		table.SetMapIndex(reflect.ValueOf(strings.TrimSpace(name)).Convert(into.Type().Key()), item)
	}
	into.Set(table)
	return nil
}

// take puts a typed value from a file into a field of exactly that type.
func take(raw any, into reflect.Value) error {
	value := reflect.ValueOf(raw)
	switch kind := into.Kind(); {
	case into.Type() == durationType:
		return errors.New("must be a duration such as 30s or 5m")
	case kind == reflect.String:
		return errors.New("must be text: put it in quotes")
	case kind == reflect.Bool:
		if value.Kind() != reflect.Bool {
			return errors.New("must be true or false")
		}
		into.SetBool(value.Bool())
		return nil
	case into.CanInt(), into.CanUint():
		if !value.CanInt() {
			return errors.New("must be a whole number")
		}
		return takeInt(value.Int(), into)
	case into.CanFloat():
		return takeFloat(value, into)
	default:
		return takeTree(raw, into)
	}
}

func takeFloat(value, into reflect.Value) error {
	switch {
	case value.CanInt():
		into.SetFloat(float64(value.Int()))
	case value.CanFloat():
		into.SetFloat(value.Float())
	default:
		return errors.New("must be a number")
	}
	return nil
}

func takeInt(value int64, into reflect.Value) error {
	switch {
	case into.CanInt() && !into.OverflowInt(value):
		into.SetInt(value)
	case into.CanUint() && value >= 0 && !into.OverflowUint(uint64(value)):
		into.SetUint(uint64(value))
	default:
		return fmt.Errorf("must fit into %s", into.Type())
	}
	return nil
}

// takeTree reads lists, maps and lists of structs, and knows no unknown keys either.
func takeTree(raw any, into reflect.Value) error {
	into.SetZero()
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: into.Addr().Interface(), TagName: "koanf", ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.TextUnmarshallerHookFunc()),
	})
	if err != nil {
		return fmt.Errorf("can't be read: %w", err)
	}
	if err := decoder.Decode(raw); err != nil {
		return fmt.Errorf("must be like %s: %w", into.Type(), err)
	}
	return nil
}

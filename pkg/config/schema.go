package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// prefix begins every environment variable of ours.
const prefix = "CLOUDOPTIM_"

// field is one setting.
type field struct {
	key      string
	value    reflect.Value
	secret   bool
	fallback string
	rules    string
	help     string
}

// mask stands for a secret that is set.
const mask = "********"

// show is the value for people: quoted where a reader might take it for something else.
func (f field) show() string {
	if f.value.Kind() == reflect.String {
		if f.secret && f.value.Len() > 0 {
			return mask
		}
		return fmt.Sprintf("%q", f.value.String())
	}
	if f.secret {
		return mask
	}
	return fmt.Sprint(f.value.Interface())
}

// variable is the field's environment variable.
func (f field) variable() string { return variableFor(f.key) }

func variableFor(key string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// schema is what keys there are. Keys in foreign are known, but of no interest to this server.
type schema struct {
	fields   []field
	byKey    map[string]field
	byEnv    map[string]string
	sections map[string]bool
	foreign  map[string]bool
	others   []string
}

// describe reads the tags of dst. Its errors are mistakes in the struct, not the user's.
func describe(dst any, others []string) (*schema, error) {
	root := reflect.ValueOf(dst)
	if root.Kind() != reflect.Pointer || root.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("reading settings into %T: want a pointer to a struct", dst)
	}
	s := &schema{
		byKey: map[string]field{}, byEnv: map[string]string{},
		sections: map[string]bool{}, foreign: map[string]bool{}, others: others,
	}
	if err := s.walk("", root.Elem(), s.own); err != nil {
		return nil, err
	}
	return s, s.walk("", reflect.ValueOf(&Common{}).Elem(), s.lend)
}

// own adds a setting of this server.
func (s *schema) own(f field) error {
	if other, taken := s.byEnv[f.variable()]; taken {
		return fmt.Errorf("settings %s and %s share the environment variable %s", other, f.key, f.variable())
	}
	s.fields = append(s.fields, f)
	s.byKey[f.key], s.byEnv[f.variable()] = f, f.key
	return nil
}

// lend adds a shared setting that this server may not have.
func (s *schema) lend(f field) error {
	if _, ours := s.byKey[f.key]; !ours {
		s.foreign[f.key], s.byEnv[f.variable()] = true, f.key
	}
	return nil
}

// walk visits the leaves below a struct.
func (s *schema) walk(path string, value reflect.Value, add func(field) error) error {
	for i := range value.NumField() {
		kind := value.Type().Field(i)
		name, option, _ := strings.Cut(kind.Tag.Get("koanf"), ",")
		switch {
		case option == "squash":
			if err := s.walk(path, value.Field(i), add); err != nil {
				return err
			}
			continue
		case !kind.IsExported(), name == "-":
			continue
		case name == "":
			return fmt.Errorf("setting %s.%s has no koanf tag", value.Type(), kind.Name)
		}
		key := strings.TrimPrefix(path+"."+name, ".")
		if isSection(kind.Type) {
			s.sections[key] = true
			if err := s.walk(key, value.Field(i), add); err != nil {
				return err
			}
			continue
		}
		err := add(field{
			key: key, value: value.Field(i), secret: kind.Tag.Get("secret") == "true",
			fallback: kind.Tag.Get("default"), rules: kind.Tag.Get("valid"), help: kind.Tag.Get("help"),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
)

// isSection tells a struct of settings from a struct that is one value.
func isSection(kind reflect.Type) bool {
	return kind.Kind() == reflect.Struct && !reflect.PointerTo(kind).Implements(textType)
}

// known says whether a key is a leaf of ours or a shared one.
func (s *schema) known(key string) bool {
	_, ours := s.byKey[key]
	return ours || s.foreign[key]
}

// elsewhere says whether a top level section belongs to another server. A section that this server
// has too is checked by its rules.
func (s *schema) elsewhere(section string) bool {
	return slices.Contains(s.others, section) && !s.sections[section]
}

// elsewhereVariable says the same of an environment variable.
func (s *schema) elsewhereVariable(name string) bool {
	return slices.ContainsFunc(s.others, func(section string) bool {
		return !s.sections[section] && strings.HasPrefix(name, variableFor(section)+"_")
	})
}

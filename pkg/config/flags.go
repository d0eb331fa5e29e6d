package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/spf13/pflag"
)

// flagLayer is what the command line says, of settings and otherwise.
type flagLayer struct {
	layer
	set   *pflag.FlagSet
	dir   string
	print bool
	help  bool
}

// readFlags reads the command line: a flag for every key, and --set key=value for scripts.
func readFlags(s *schema, opts Options) (*flagLayer, error) {
	f := &flagLayer{
		layer: layer{values: map[string]any{}, origins: map[string]string{}, text: true},
		set:   pflag.NewFlagSet(opts.Name, pflag.ContinueOnError),
	}
	f.set.SortFlags = false
	f.set.SetOutput(io.Discard)
	f.set.Usage = func() {}
	f.set.BoolVarP(&f.help, "help", "h", false, "show this and exit")
	f.set.BoolVar(&f.print, "print-config", false, "print the effective settings and where each came from, and exit")
	f.set.StringVar(&f.dir, "config-dir", "", "read common.yaml and the environment's file from this directory (env "+dirVariable+")")
	f.set.Var(&setting{put: f.putPair(s)}, "set", "set one setting: key=value; may be repeated")
	for _, field := range s.fields {
		f.add(field)
	}
	if _, ours := s.byKey["environment"]; !ours {
		f.add(field{key: "environment", help: "whose file is laid over common.yaml"})
	}
	if err := f.set.Parse(opts.Args); err != nil {
		return nil, fmt.Errorf("reading the command line: %w", err)
	}
	if f.set.NArg() > 0 {
		return nil, fmt.Errorf("reading the command line: unexpected argument %q", f.set.Arg(0))
	}
	return f, nil
}

func (f *flagLayer) add(field field) {
	key := field.key
	flag := f.set.VarPF(&setting{kind: "value", put: func(value string) error {
		f.values[key], f.origins[key] = value, "flag --"+key
		return nil
	}}, key, "", field.usage())
	if field.value.IsValid() && field.value.Kind() == reflect.Bool {
		flag.NoOptDefVal = "true"
	}
}

// putPair is what --set does.
func (f *flagLayer) putPair(s *schema) func(string) error {
	return func(pair string) error {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return errors.New("want key=value")
		}
		if _, known := s.byKey[key]; !known {
			return fmt.Errorf("unknown setting %s", key)
		}
		f.values[key], f.origins[key] = value, "flag --set "+key
		return nil
	}
}

// usage is the field's line in --help.
func (f field) usage() string {
	text := f.help
	if f.rules != "" {
		text += " (" + f.rules + ")"
	}
	return strings.TrimSpace(text + " [" + f.variable() + "]")
}

func (f *flagLayer) printHelp(opts Options) error {
	_, err := fmt.Fprintf(opts.Output, "Usage: %s [flags]\n\nA setting comes from, last wins: common.yaml, the environment's file, "+
		"the environment variable in brackets, the flag.\n\n%s", opts.Name, f.set.FlagUsages())
	if err != nil {
		return fmt.Errorf("printing help: %w", err)
	}
	return nil
}

// setting is a flag's value that is only noted; types are checked once all layers are merged.
type setting struct {
	kind string
	put  func(string) error
}

func (s *setting) Set(value string) error { return s.put(value) }
func (s *setting) String() string         { return "" }
func (s *setting) Type() string {
	if s.kind == "" {
		return "key=value"
	}
	return s.kind
}

// Package config reads a server's settings: common.yaml ← the environment's file ← environment
// variables ← flags, where a key that nobody knows is an error.
//
// A server describes its settings as a struct. Tags say the rest:
//
//	koanf:"pool_size"        the key; `koanf:",squash"` merges an embedded struct
//	default:"prefer"         the value when no layer has one and the field is zero
//	valid:"min=1,max=65535"  also: nonempty, oneof=a|b
//	secret:"true"            masked wherever values are shown
//	help:"…"                 the flag's text in --help
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// ErrDone says that --help or --print-config was answered and the program should end well;
// run.Main does so.
var ErrDone error = done{}

type done struct{}

func (done) Error() string { return "nothing more to do" }
func (done) ExitCode() int { return 0 }

// Options say where settings may come from. Only Name is required.
type Options struct {
	// Name is the server's name, for --help.
	Name string
	// Args are the command line's arguments after the program's name and subcommand.
	Args []string
	// OtherSections are top level sections which belong to other servers. They may stand in the
	// shared files and in the environment, where they are ignored. The sections of Common are
	// always accepted.
	OtherSections []string
	// OtherVariables are CLOUDOPTIM_… environment variables that the program reads by itself.
	OtherVariables []string
	// Files replaces the built-in files; --config-dir and CLOUDOPTIM_CONFIG_DIR go before it.
	Files fs.FS
	// Environ replaces os.Environ().
	Environ []string
	// Output is where --help and --print-config write instead of to standard output.
	Output io.Writer
}

// layer is what one source says. Text values come from a place that has no types.
type layer struct {
	values  map[string]any
	origins map[string]string
	text    bool
}

// loader carries one Load.
type loader struct {
	opts    Options
	schema  *schema
	merged  *koanf.Koanf
	origins map[string]string
	text    map[string]bool
	unread  map[string]bool
}

// Load fills dst, a pointer to a struct, from all layers and checks it. Every problem is reported,
// not only the first. ErrDone means that the user asked for help or for the effective settings.
func Load(dst any, opts Options) error {
	if opts.Environ == nil {
		opts.Environ = os.Environ()
	}
	if opts.Output == nil {
		opts.Output = os.Stdout
	}
	schema, err := describe(dst, opts.OtherSections)
	if err != nil {
		return err
	}
	l := &loader{
		opts: opts, schema: schema, merged: koanf.New("."),
		origins: map[string]string{}, text: map[string]bool{}, unread: map[string]bool{},
	}
	flags, err := readFlags(schema, opts)
	if err != nil {
		return err
	}
	if flags.help {
		if err := flags.printHelp(opts); err != nil {
			return err
		}
		return ErrDone
	}
	if err := l.merge(flags); err != nil {
		return err
	}
	problems := errors.Join(l.assign(), l.validate(dst))
	if !flags.print {
		return problems
	}
	if err := l.print(); err != nil {
		return err
	}
	if problems != nil {
		return problems
	}
	return ErrDone
}

// merge lays all layers over each other. Unknown keys of all layers are reported together.
func (l *loader) merge(flags *flagLayer) error {
	env, envProblems := readEnv(l.schema, l.opts)
	files, fileProblems := readFiles(l.schema, l.opts, flags, env)
	if err := errors.Join(fileProblems, envProblems); err != nil {
		return err
	}
	for _, layer := range slices.Concat(files, []layer{env, flags.layer}) {
		if err := l.merged.Load(confmap.Provider(layer.values, "."), nil); err != nil {
			return fmt.Errorf("merging settings: %w", err)
		}
		for key, origin := range layer.origins {
			l.origins[key], l.text[key] = origin, layer.text
		}
	}
	return nil
}

// assign gives every field its value.
func (l *loader) assign() error {
	var problems []error
	for _, field := range l.schema.fields {
		var err error
		switch _, set := l.origins[field.key]; {
		case set:
			err = convert(l.merged.Get(field.key), l.text[field.key], field.value)
		case field.fallback != "" && field.value.IsZero():
			err = convert(field.fallback, true, field.value)
		}
		if err != nil {
			problem := l.problem(field, err.Error())
			if !field.secret {
				problem.Value = fmt.Sprint(l.merged.Get(field.key))
			}
			problems = append(problems, problem)
			l.unread[field.key] = true
		}
	}
	return errors.Join(problems...)
}

// origin says where a field's value came from.
func (l *loader) origin(key string) string {
	if origin, ok := l.origins[key]; ok {
		return origin
	}
	return "default"
}

// print writes the effective settings, one a line, with where each came from.
func (l *loader) print() error {
	for _, field := range l.schema.fields {
		_, err := fmt.Fprintf(l.opts.Output, "%s: %s  # %s\n", field.key, field.show(), l.origin(field.key))
		if err != nil {
			return fmt.Errorf("printing the settings: %w", err)
		}
	}
	return nil
}
